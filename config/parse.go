package config

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/BurntSushi/toml"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads the configuration file at path and checks that the files it names are
// there and can be read (see [Config.CheckFiles]).
// Errors: those of reading the file; [Problems], with a Config as [Parse] has it.
func Load(path string) (*Config, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data, path)
	if c == nil {
		return nil, err
	}
	problems, _ := errors.AsType[Problems](err)
	missing, _ := c.CheckFiles()
	return c, problems.Merge(missing).err()
}

// Read returns the content of a configuration file, which is at most 1 MiB.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading the configuration: %s is larger than %v", path, Size(maxFile))
	}
	return data, nil
}

// Parse reads a configuration from data. path is the file it came from: problems name
// it, and relative paths in the file are taken from its folder. Parse opens no file.
//
// Errors: [Problems], all of them, in the order of the file. The Config is then nil if
// data is no TOML; else it holds what could be read, good for more checks and for
// nothing else.
func Parse(data []byte, path string) (*Config, error) {
	var doc map[string]any
	if _, err := toml.Decode(string(data), &doc); err != nil {
		return nil, syntaxProblem(err, path)
	}
	c := Default()
	c.file = path
	c.DataDir = c.resolve(c.DataDir) // to write a default down changes nothing
	c.lines = locate(string(data))
	d := decoder{config: c}
	d.document(doc)
	validate(&d)
	return c, d.problems.err()
}

func syntaxProblem(err error, path string) Problems {
	p := Problem{File: path, Message: "is not TOML: " + err.Error()}
	if perr, ok := errors.AsType[toml.ParseError](err); ok {
		p.Line = perr.Position.Line
		p.Message = "is not TOML: " + perr.Message
	}
	return Problems{p}
}
