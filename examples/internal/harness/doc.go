// Package harness puts a whole scene on loopback: a real registry (CNCF distribution v3,
// in this process) that a real client pushes to, the real regcast binary as a child
// process, and webhook consumers that remember what they got. The demo plays it for a
// person, the end-to-end tests play it for CI.
//
// Every Start function returns something that its caller closes. Nothing here reaches
// beyond 127.0.0.1.
package harness
