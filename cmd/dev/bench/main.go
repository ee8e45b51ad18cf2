// Command bench measures what regcast promises of its speed, each row against a peer or
// a limit in the same run on the same machine, and prints the table of the README.
// Absolute figures are the machine's; only the ratios mean something. The last columns
// compare the CPU time of one event on both sides, with its sender and its receiver: that
// ratio moves much less on a busy machine, by a seventh or so either way.
//
//	go run ./cmd/dev bench [-run REGEXP] [-rounds N] [-cpuprofile FILE]
//
// Every row runs ours and the peer in turn, several rounds, and compares the medians, so
// that a noisy neighbour hits both. It loads nothing but loopback, for a bounded number
// of events.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A row is one line of the table: ours against a peer, and what the ratio must reach.
type row struct {
	name    string
	against string
	unit    string  // of both figures
	reach   float64 // the budget for ours/peer
	less    bool    // the ratio must stay below reach, not above
	ours    func(context.Context) (result, error)
	peer    func(context.Context) (result, error)
	rounds  int // 0: as asked for; 1 for what is slow and steady
}

// rows is the table of DESIGN §11, in its order.
func rows() []row {
	return slices.Concat(deliveryRows(), intakeRows(), relayRows(), bridgeRows(), observerRows(), cacheRows(), scaleRows())
}

var errMissed = errors.New("a budget was missed")

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := flags.String("run", "", "only rows whose name matches this regular expression")
	profile := flags.String("cpuprofile", "", "write a CPU profile of the whole run to this `file`")
	rounds := flags.Int("rounds", 3, "how often each side of a row is measured")
	if err := flags.Parse(args); err != nil {
		return err
	}
	only, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}

	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}

	fmt.Printf("%s, %s/%s, %d CPUs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tours\tagainst\tpeer\tunit\tratio\tbudget\t\tµs CPU\tpeer\tratio\t")
	missed := false
	for _, r := range rows() {
		if !only.MatchString(r.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "… %s\n", r.name)
		n := *rounds
		if r.rounds > 0 {
			n = r.rounds
		}
		ours, peer, err := r.measure(ctx, n)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		ratio := ours.value / peer.value
		verdict, sign := "ok", "≥"
		if r.less {
			sign = "≤"
		}
		if r.less && ratio > r.reach || !r.less && ratio < r.reach {
			verdict, missed = "MISSED", true
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%.2f\t%s %g\t%s\t%s\n",
			r.name, figure(ours.value), r.against, figure(peer.value), r.unit, ratio, sign, r.reach, verdict, costs(ours, peer))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if missed {
		return errMissed
	}
	return nil
}

// costs are the columns that compare the CPU time of one unit: how often ours goes into
// the peer's.
func costs(ours, peer result) string {
	if ours.cpu == 0 || peer.cpu == 0 {
		return "\t\t"
	}
	us := func(r result) float64 { return float64(r.cpu) / float64(time.Microsecond) }
	return fmt.Sprintf("%.1f\t%.1f\t%.2f", us(ours), us(peer), us(peer)/us(ours))
}

// measure runs both sides in turn and returns the medians of each.
func (r *row) measure(ctx context.Context, rounds int) (ours, peer result, err error) {
	var all [2][]result
	for range rounds {
		for side, run := range []func(context.Context) (result, error){r.ours, r.peer} {
			runtime.GC()
			v, err := run(ctx)
			if err != nil {
				return result{}, result{}, err
			}
			all[side] = append(all[side], v)
		}
	}
	return median(all[0]), median(all[1]), nil
}

// median takes the median of the values and that of the costs.
func median(of []result) result {
	middle := func(less func(a, b result) int) result {
		slices.SortFunc(of, less)
		return of[len(of)/2]
	}
	return result{
		value: middle(func(a, b result) int { return cmp.Compare(a.value, b.value) }).value,
		cpu:   middle(func(a, b result) int { return cmp.Compare(a.cpu, b.cpu) }).cpu,
	}
}

// figure prints v with three significant digits or so.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
