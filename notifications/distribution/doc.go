// Package distribution makes CNCF distribution v3 report to our sinks what its registry
// does, as a repository middleware of it.
//
// # How it is composed
//
// The main that embeds the registry builds its sinks in Go and registers a middleware
// under a name:
//
//	config, err := configuration.Parse(file)
//	opts, err := distribution.OptionsOf(config)
//	events, err := distribution.Register("regcast", sink, opts)
//	server, err := registry.NewRegistry(ctx, config)
//	err = server.ListenAndServe()
//	err = events.Shutdown(ctx)
//
// and the registry's own file says that it is used:
//
//	middleware:
//	  repository:
//	    - name: regcast
//
// Nothing is registered by importing the package. The same name under registry, in place
// of repository, is for [Middleware.WrapRemover].
//
// # What it promises
//
// The events are those of distribution's own notifications, but for three things: a push
// by tag is reported once the tag is stored, and not if that went wrong; a delete by digest
// says whether it was a manifest or a blob; who a client is, X-Forwarded-For and its like
// are believed about only from [Options].TrustedProxies. Distribution reports a HEAD as a
// pull, and a blob that was not modified, not in range or not read to its end: so does this
// package. It works in a pull-through cache, which pulls for its clients and pushes
// nothing.
//
// No request fails because of a sink, and none of its events waits for it for longer than
// [Options].Wait (a delete by digest has one for each tag, too): events go through a
// bounded queue, which counts what it cannot keep. For a pull that a selective sink does
// not want, the storage is not asked and nothing is allocated but the repository's name.
//
// Who registers a Middleware ends it with [Middleware.Shutdown], after the HTTP server
// and before the sink.
package distribution
