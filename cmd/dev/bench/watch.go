package main

import (
	"syscall"
	"time"
)

// A result is what one side of a row was measured to be.
type result struct {
	value float64
	cpu   time.Duration // that one unit took of all CPUs, sender and receiver included; 0: not measured
}

// A watch measures work on the clock and by what it costs: on a machine that others use,
// too, the clock tells how much of it was left for us; the CPU time of an event depends
// on that far less.
type watch struct {
	start time.Time
	cpu   time.Duration
}

func startWatch() watch { return watch{time.Now(), cpuTime()} }

// per is the result of n units of work since the start.
func (w watch) per(n int) result {
	return result{
		value: float64(n) / time.Since(w.start).Seconds(),
		cpu:   (cpuTime() - w.cpu) / time.Duration(n),
	}
}

// cpuTime is what this process has used of all CPUs, in its own code and in the kernel.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
