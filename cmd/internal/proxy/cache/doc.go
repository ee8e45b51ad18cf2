// Package cache answers reads of a registry from what it answered before: lists of tags,
// manifests, and the size of blobs, never blobs themselves.
//
// # How it is composed
//
// A [Cache] is an http.Handler before the one that asks the registry, and behind the
// observer, for which an answer from the cache is one of the registry's. What it keeps is
// in a [Store]: [NewMemory] of this process, or [NewRedis], which several share.
//
// # What it promises
//
// A request that begins after a change was acknowledged never sees what was before it:
// every repository has a generation, which begins anew before a change is forwarded and
// once more before its answer is, and what was asked for in another generation is not
// used. That holds for all changes that pass through caches which share a Store, and for
// those that [Cache.Invalidate] hears of; others are seen when the time to live is over.
//
// Whether somebody may read is for the registry to say: what one client was answered is
// given to another only if it shows the same credentials, or the options say so. Only
// what is whole and has the digest that it should have is kept.
//
// A Store that fails makes no request fail, be it a change: the cache is bypassed. A change
// that the Store could not be told of makes the repository distrusted until it could. That
// is known to the Cache where the change passed, and no other: if it alone does not reach
// the Store, those that do give what was before the change until the Store was told, which
// is within about a second of being reached again if somebody calls [Cache.Repay], or until
// the time to live is over. To refuse changes for as long would make every push depend on
// the Store, also where nobody else reaches it and nothing old can be given.
//
// Nothing here starts a goroutine or has to be stopped.
package cache
