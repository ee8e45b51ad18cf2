// Package trial has the two ends to try a dispatcher with: [Send] posts events as a
// registry does, and a [Receiver] takes them as a webhook consumer does, well-behaved or
// not. The commands send and receive are made of them. Neither starts anything that
// outlives its call.
package trial
