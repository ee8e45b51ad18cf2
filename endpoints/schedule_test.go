package endpoints

import (
	"testing"
	"time"
)

func TestParkingSchedule(t *testing.T) {
	s := newSchedule((*Options)(nil).withDefaults())
	age := defaultMaxBlock
	for _, want := range []time.Duration{
		5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute,
		160 * time.Minute, 320 * time.Minute, 640 * time.Minute, maxPark, maxPark,
	} {
		least, most := time.Duration(1<<62), time.Duration(0)
		for range 1000 {
			d := s.parked(age)
			least, most = min(least, d), max(most, d)
		}
		if least < want*3/4 || most > want*5/4 || most-least < want/4 {
			t.Errorf("after %v: %v to %v, want a quarter less or more than %v", age, least, most, want)
		}
		age += want
	}
	if d := s.parked(0); d > 2*firstPark {
		t.Errorf("one that was parked early waits for %v", d)
	}
}

func TestProbeSchedule(t *testing.T) {
	s := newSchedule((*Options)(nil).withDefaults())
	unreachable := &DeliveryError{Fault: FaultConnect}
	for _, c := range []struct {
		state  StateName
		n      int
		lasted time.Duration
		err    *DeliveryError
		want   time.Duration // at most, and at least half of it
	}{
		{StateDown, 1, 0, unavailable, 5 * time.Second},
		{StateDown, 2, 0, unavailable, 10 * time.Second},
		{StateDown, 7, 0, unavailable, 5 * time.Minute},
		{StateDown, 300, 23 * time.Hour, unavailable, 5 * time.Minute},
		{StateDown, 300, 25 * time.Hour, unavailable, 15 * time.Minute},
		{StateDown, 300, 25 * time.Hour, unreachable, 5 * time.Minute},
		{StateDown, 300, 25 * time.Hour, &DeliveryError{Fault: FaultDNS}, 5 * time.Minute},
		{StateDown, 300, 25 * time.Hour, &DeliveryError{Fault: FaultTimeout}, 15 * time.Minute},
		{StateRejecting, 1, 0, &DeliveryError{Status: 400}, 5 * time.Second},
		{StateRejecting, 50, time.Hour, &DeliveryError{Status: 400}, 5 * time.Minute},
		{StateAuth, 1, 0, forbidden, 5 * time.Second},
		{StateAuth, 50, time.Hour, forbidden, 15 * time.Minute},
		{StateBlocked, 50, time.Hour, &DeliveryError{Fault: FaultBlocked}, 15 * time.Minute},
		{StateSuspended, 1, 0, unavailable, time.Hour},
		{StateSuspended, 500, 1000 * time.Hour, unreachable, time.Hour},
	} {
		if got := s.probe(c.state, c.n, c.lasted, c.err); got > c.want || got < c.want/2 {
			t.Errorf("%s for %v, probe %d, %v: %v, want half to one of %v", c.state, c.lasted, c.n, c.err, got, c.want)
		}
	}
}
