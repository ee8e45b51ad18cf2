//go:build race

package registry_test

// raceEnabled tells tests that everything takes ten times as long.
const raceEnabled = true
