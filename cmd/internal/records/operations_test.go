package records

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

// The log keeps its newest records, without what is too long, and goes on after a restart.
func TestOperationsAreBounded(t *testing.T) {
	ctx := context.Background()
	store := sinks.NewMemory(&sinks.MemoryOptions{MaxStates: MaxOperations + 1})
	defer store.Shutdown(ctx)
	const more = 10
	log, err := OpenOperations(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	long, err := json.Marshal(strings.Repeat("x", maxOperationRequest))
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxOperations + more {
		if i == MaxOperations/2 {
			if log, err = OpenOperations(ctx, store); err != nil {
				t.Fatal(err)
			}
		}
		op := admin.Operation{Action: "pause", Request: long}
		if err := log.Record(ctx, &op); err != nil {
			t.Fatal(err)
		}
		if op.ID != uint64(i+1) || op.Request == nil {
			t.Fatalf("record %d: %+v, want the ID set and nothing else", i+1, op)
		}
		op.Count = op.ID
		if err := log.Record(ctx, &op); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := log.Log(ctx, admin.LogQuery{Limit: 2 * MaxOperations})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != MaxOperations || kept[0].ID != MaxOperations+more || kept[len(kept)-1].ID != more+1 {
		t.Errorf("%d operations are kept, the newest being %d; want %d", len(kept), kept[0].ID, MaxOperations)
	}
	for _, op := range kept {
		if op.Count != op.ID || op.Request != nil {
			t.Fatalf("%+v, want how it ended and no long request", op)
		}
	}
}
