// Package registry is a client of OCI registries: it resolves, lists, gets, puts, mounts
// and deletes manifests and blobs, and authenticates as a registry asks for it.
//
// # How it is composed
//
// A [Transport] is an [http.RoundTripper] that authenticates and repeats; it works below an
// [http.Client] and below a reverse proxy alike. [Credentials] tell it who we are:
// [StaticCredential], or [DockerConfig] with its credential helpers. A [Client] makes the
// calls of one registry over a transport that it may share with others. Listings, look-ups
// and the reading of Docker's configuration are oras-go's; what oras-go has no calls for,
// or none that fit, is done here.
//
// # What a Transport promises
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
// # What a Client promises
//
// What it returns has the digest and size that were asked for or claimed, or there is an
// error: [ErrMismatch]. Bodies, pages and listings are bounded. Errors are *[Error] for what
// a registry answered.
//
// Nothing here starts a goroutine or needs a shutdown; CloseIdleConnections gives
// connections back.
package registry
