//go:build race

package mirror_test

// raceEnabled tells tests that everything takes ten times as long.
const raceEnabled = true
