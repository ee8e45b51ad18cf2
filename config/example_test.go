package config_test

import (
	"fmt"

	"github.com/regcast/regcast/config"
)

func ExampleParse() {
	_, err := config.Parse([]byte(`
[intake]
max_body = 8

[[endpoint]]
name = "audit"
url = "https://audit.example/hook"
timeuot = "20s"
`), "regcast.toml")
	fmt.Println(err)
	// Output:
	// regcast.toml:3: intake.max_body: 8 lacks a unit of bytes: write "8B" or "8MiB"
	// regcast.toml:8: endpoint[0].timeuot: unknown key; did you mean timeout?
}

// Whoever knows more about a value than its form adds problems of the same kind.
func ExampleConfig_Problem() {
	c, err := config.Parse([]byte(`
[[endpoint]]
name = "audit"
url = "https://audit.example/hook"
filter = { repositories = ["team/["] }
`), "regcast.toml")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Problem("endpoint[0].filter.repositories[0]", "%q has a bracket that is not closed", "team/["))
	// Output:
	// regcast.toml:5: endpoint[0].filter.repositories[0]: "team/[" has a bracket that is not closed
}

func ExampleNewSecret() {
	s := config.NewSecret("hunter2")
	fmt.Printf("%v %q %+v %x\n", s, s, struct{ Token config.Secret }{s}, s)
	fmt.Println(s.Reveal())
	// Output:
	// <secret> <secret> {Token:<secret>} <secret>
	// hunter2
}

func ExampleTrial() {
	c := config.Trial()
	fmt.Println(c.Intake.Listen, c.DataDir, c.Endpoints[0].URL)
	// Output: 127.0.0.1:8410 regcast-data console:
}

func ExampleParseSize() {
	size, err := config.ParseSize("512KiB")
	fmt.Println(int64(size), err)
	_, err = config.ParseSize("512")
	fmt.Println(err)
	// Output:
	// 524288 <nil>
	// "512" lacks a unit of bytes: write "512B" or "512MiB"
}
