package bearer_test

import (
	"fmt"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy/bearer"
)

func ExampleNew() {
	identifier, err := bearer.New(&bearer.Options{HashOpaque: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(identifier.Identify("ghp_abcdef", time.Now()))
	fmt.Println(identifier.Identify("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln", time.Now()))
	// Output:
	// token:2a36681b false
	// alice false
}
