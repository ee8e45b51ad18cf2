package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// A component is a program of the system that some tests cannot do without.
type component struct {
	name     string   // a short word
	programs []string // any one of these will do
	packages []string // what to install on Debian
	without  string   // what is left out where it is missing
}

// components lists them all. What a later capability needs comes with that capability.
func components() []component {
	return []component{
		{"cc", []string{os.Getenv("CC"), "gcc", "clang", "cc"}, []string{"gcc", "libc6-dev"},
			"the race detector needs a C compiler: tests run without -race"},
		// Debian starts a service with it, of which the tests, which start their own
		// servers on free ports, know nothing.
		{"redis-server", []string{"redis-server"}, []string{"redis-server"},
			"shared caches are not tried on a real Redis"},
		{"skopeo", []string{"skopeo"}, []string{"skopeo"},
			"skopeo does not push and pull through the observer and the proxy"},
	}
}

// provide looks for every component, installs what is missing where that is possible
// without a question, and says what is still missing, by name.
func (d *dev) provide(ctx context.Context, wanted []component) (missing map[string]bool) {
	missing = make(map[string]bool)
	for _, c := range wanted {
		path, err := c.find()
		if err != nil {
			fmt.Fprintf(d.out, "%s: missing, installing %s\n", c.name, strings.Join(c.packages, " "))
			if err = d.install(ctx, c.packages); err == nil {
				path, err = c.find()
			}
		}
		if err == nil {
			fmt.Fprintf(d.out, "%s: %s\n", c.name, path)
			continue
		}
		missing[c.name] = true
		fmt.Fprintf(d.out, "%s: %v\n", c.name, err)
		d.skip(fmt.Sprintf("%s (%s)", c.without, c.name))
	}
	return missing
}

func (c component) find() (string, error) {
	for _, p := range c.programs {
		// CC may hold arguments.
		if fields := strings.Fields(p); len(fields) > 0 {
			if path, err := exec.LookPath(fields[0]); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("none of %s found", strings.Join(c.programs, " "))
}

// install has apt-get install packages, as root or by a sudo that asks nothing.
func (d *dev) install(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); runtime.GOOS != "linux" || err != nil {
		return errors.New("no apt-get here; install it by hand: " + strings.Join(packages, " "))
	}
	var prefix []string
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return errors.New("not root, and sudo wants a password; run: sudo apt-get install " + strings.Join(packages, " "))
		}
		prefix = []string{"sudo", "-n"}
	}
	apt := func(args ...string) error {
		line := append(append(prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"), args...)
		return d.command(ctx, nil, line[0], line[1:]...)
	}
	installPackages := append([]string{"install", "--no-install-recommends"}, packages...)
	if apt(installPackages...) == nil {
		return nil
	}
	// The lists may be missing or old: a fresh image has none.
	if err := apt("update"); err != nil {
		return fmt.Errorf("updating the package lists: %w", err)
	}
	if err := apt(installPackages...); err != nil {
		return fmt.Errorf("installing %s: %w", strings.Join(packages, " "), err)
	}
	return nil
}
