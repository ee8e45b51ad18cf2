package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Build compiles the regcast binary into dir and returns its path. It must run inside
// the module.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "regcast")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/regcast/regcast/cmd/regcast")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building regcast: %w", err)
	}
	return binary, nil
}

// A Dispatcher is `regcast serve` as a child process with a journal of its own.
type Dispatcher struct {
	binary, config string
	intake, admin  string
	log            io.Writer
	command        *exec.Cmd
	exited         chan error
}

// StartDispatcher writes a configuration with a journal in dir and one endpoint per
// entry of endpoints (name to URL), starts binary with it on free ports and waits until
// it is ready. The ports stay its own until ctx ends. Its log goes to log. Close ends it.
func StartDispatcher(ctx context.Context, binary, dir string, endpoints map[string]string, log io.Writer) (*Dispatcher, error) {
	intake, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("data_dir = \"data\"\n[intake]\nlisten = %q\n[admin]\nlisten = %q\nmetrics_anonymous = true\n", intake, admin)
	for name, url := range endpoints {
		config += fmt.Sprintf("[[endpoint]]\nname = %q\nurl = %q\nretry = { initial = \"100ms\", max = \"500ms\" }\n", name, url)
	}
	file := filepath.Join(dir, "regcast.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	d := &Dispatcher{binary: binary, config: file, intake: intake, admin: admin, log: log}
	return d, d.Start(ctx)
}

// StartServe is StartDispatcher with a configuration file of the caller's, in which
// admin.listen is admin.
func StartServe(ctx context.Context, binary, file, admin string, log io.Writer) (*Dispatcher, error) {
	d := &Dispatcher{binary: binary, config: file, admin: admin, log: log}
	return d, d.Start(ctx)
}

// FreeAddr finds a loopback port that nobody listens on. The dispatcher has to come back
// to the same port after a crash, so it cannot choose one by itself. Until ctx ends nobody
// is given the port who does not ask for it.
func FreeAddr(ctx context.Context) (string, error) {
	addr, held, err := holdPort()
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, held.release)
	return addr, nil
}

// A heldPort keeps a port from those who ask for any: it has a connection, which stands in
// the way of no server that asks for this one.
type heldPort struct{ near, far net.Conn }

func holdPort() (addr string, held heldPort, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", heldPort{}, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	addr = l.Addr().String()
	if held.near, err = net.Dial("tcp", addr); err != nil {
		return "", heldPort{}, fmt.Errorf("holding a free port: %w", err)
	}
	if held.far, err = l.Accept(); err != nil {
		return "", heldPort{}, errors.Join(fmt.Errorf("holding a free port: %w", err), held.near.Close())
	}
	return addr, held, nil
}

func (p heldPort) release() {
	_ = p.near.Close() // nothing was sent
	_ = p.far.Close()
}

// IntakeURL is where registries send their events.
func (d *Dispatcher) IntakeURL() string { return "http://" + d.intake + "/events" }

// AdminURL is the base of health, readiness and metrics.
func (d *Dispatcher) AdminURL() string { return "http://" + d.admin }

// Config is the path of the configuration file.
func (d *Dispatcher) Config() string { return d.config }

// Start starts the process, for the first time or again, and waits until it is ready.
func (d *Dispatcher) Start(ctx context.Context) error {
	d.command = exec.Command(d.binary, "serve", "--config", d.config)
	d.command.Stderr = d.log
	d.command.Stdout = d.log
	if err := d.command.Start(); err != nil {
		return fmt.Errorf("starting regcast: %w", err)
	}
	d.exited = make(chan error, 1)
	go func(c *exec.Cmd, exited chan<- error) { exited <- c.Wait() }(d.command, d.exited)

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := http.Get(d.AdminURL() + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("regcast ended before it was ready: %w", err)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for regcast to be ready: %w", ctx.Err()), d.Kill())
		case <-tick.C:
		}
	}
}

// Kill ends the process as a power cut would: SIGKILL, nothing is finished.
func (d *Dispatcher) Kill() error {
	if err := d.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing regcast: %w", err)
	}
	d.exited <- <-d.exited // whoever asks again gets the same answer
	return nil
}

// Close ends the process as an operator would, with SIGTERM, and returns how it ended.
func (d *Dispatcher) Close() error {
	if err := d.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping regcast: %w", err)
	}
	err := <-d.exited
	d.exited <- err
	if err != nil {
		return fmt.Errorf("regcast ended: %w", err)
	}
	return nil
}
