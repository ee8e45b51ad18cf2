package sinks_test

import (
	"testing"

	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/sinktest"
)

func TestMemory(t *testing.T) {
	sinktest.TestEngine(t, sinktest.EngineSuite{
		Open: func(*testing.T, string) sinks.Engine { return sinks.NewMemory(nil) },
		OpenSmall: func(*testing.T, string) sinks.Engine {
			return sinks.NewMemory(&sinks.MemoryOptions{MaxEvents: 64})
		},
		Volatile: true,
		Bubble:   true,
	})
}
