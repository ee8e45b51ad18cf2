// Package auth authenticates to OCI registries, by Basic or by tokens, and repeats what may
// succeed the next time.
//
// # How it is composed
//
// A [Transport] is an [http.RoundTripper] around another. It works below a
// [registry.Client], below any other [http.Client] and below a reverse proxy alike, for as
// many registries as its requests go to. [Credentials] tell it who we are: [Anonymous],
// [StaticCredential], or [DockerConfig] with its credential helpers.
//
//	transport := auth.NewTransport(nil, &auth.Options{Credentials: auth.DockerConfig("")})
//	client, err := registry.NewClient("https://registry.example", &registry.ClientOptions{Transport: transport})
//
// # What it promises
//
//   - A registry is asked once how it wants its clients to authenticate, and its answer is
//     kept. Tokens are preferred to passwords. A token is asked for the scope that the
//     request's path and method need, kept until it expires, and used for all that needs
//     no more. Those who need the same token wait for one request.
//   - After an answer 401 a token is dropped and fetched anew, once. A body that cannot be
//     had again is never sent twice: its token is there before it is sent.
//   - A credential goes to the registry it is for and to the token server that it names,
//     nowhere else: not where a redirect leads, not to an http server if the registry has
//     https, not to an internal address unless that is the registry's own host or was
//     allowed by name.
//   - Connection errors, 408, 429 and 5xx are followed by another attempt, up to a bound,
//     after the wait that the server asks for or one that doubles.
//
// Its errors are those of package registry, where a server answered or was refused.
//
// Nothing here starts a goroutine or needs a shutdown; CloseIdleConnections gives
// connections back.
package auth
