package differential_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	storagemiddleware "github.com/distribution/distribution/v3/registry/storage/driver/middleware"
)

const (
	faultsName = "differential-faults"
	unwritable = "unwritable" // a tag
)

// registerFaults makes faults known to distribution, whose list of storage middleware is
// one for the process and takes a name once.
var registerFaults = sync.OnceValue(func() error {
	return storagemiddleware.Register(faultsName,
		func(_ context.Context, driver storagedriver.StorageDriver, _ map[string]any) (storagedriver.StorageDriver, error) {
			return faults{driver}, nil
		})
})

// faults is a storage in which one tag cannot be written.
type faults struct{ storagedriver.StorageDriver }

func (f faults) PutContent(ctx context.Context, path string, content []byte) error {
	if strings.Contains(path, "/tags/"+unwritable+"/") {
		return errors.New("no room for this tag")
	}
	return f.StorageDriver.PutContent(ctx, path, content)
}
