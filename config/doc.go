// Package config is regcast's configuration file: its keys, their defaults, strict
// decoding and validation. It is pure data and starts nothing; package
// cmd/internal/app turns it into things that run.
//
// [Parse] reads a document and reports all of its problems at once, each with its key
// path and line: what is no TOML, keys that do not exist (or not yet), values of the
// wrong type, numbers without a unit, contradictions. [Load] reads a file and, beyond
// that, checks that the files it names are there. [Config.Problem] lets others, who know
// what a value means, add to the list in the same form.
//
// Secrets are of type [Secret] and never print. Every secret has a twin key that ends in
// _file; such files are not read here, because they are read again whenever they change.
package config
