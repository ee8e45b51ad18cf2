package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/endpoints"
)

// What commands that talk to a running dispatcher take from the environment.
const (
	envAdmin = "REGCAST_ADMIN"
	envToken = "REGCAST_TOKEN" // the token itself
)

const defaultAdmin = "http://127.0.0.1:8411"

// A server says which dispatcher a command is about.
type server struct {
	admin, tokenFile string
}

// addServerFlags gives a command the flags of its server.
func addServerFlags(cmd *cobra.Command, s *server) {
	flags := cmd.Flags()
	flags.StringVar(&s.admin, "admin", "", "`URL` of the dispatcher's admin address (default $"+envAdmin+", else "+defaultAdmin+")")
	flags.StringVar(&s.tokenFile, "token-file", "", "`file` with an admin token (default the token in $"+envToken+")")
}

// ask does something with a client of the dispatcher and says of an error what to do.
func (s *server) ask(ctx context.Context, do func(*client.Client) error) error {
	token := strings.TrimSpace(os.Getenv(envToken))
	if s.tokenFile != "" {
		var err error
		if token, err = endpoints.SecretFile(s.tokenFile)(); err != nil {
			return usageError{err}
		}
	}
	c, err := client.New(cmp.Or(s.admin, os.Getenv(envAdmin), defaultAdmin), &client.Options{
		Token: token, UserAgent: "regcast/" + currentBuild().Version,
	})
	if err != nil {
		return usageError{err}
	}
	err = do(c)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return advise(err)
}

// listedBy adds to an error that says that something was not found which command lists
// what there is.
func listedBy(command string, err error) error {
	if errors.Is(err, admin.ErrNotFound) {
		return fmt.Errorf("%w; %s lists what there is", err, command)
	}
	return err
}

// advise adds to what a client returns what to do about it.
func advise(err error) error {
	if errors.Is(err, admin.ErrInvalid) {
		return usageError{err}
	}
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w; name the file of one with --token-file, or put it into %s", err, envToken)
	}
	// A registry that is not there is none of the dispatcher's business.
	if unreachable, ok := errors.AsType[*client.UnreachableError](err); ok && refused(unreachable.Err) {
		return fmt.Errorf("%w; start the dispatcher with regcast serve, or say with --admin or %s where it listens ([admin] listen)", err, envAdmin)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w; SSL_CERT_FILE names the certificates to trust", err)
	}
	return err
}

// refused tells whether there was not even a connection.
func refused(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// reconnectEvery is how often a command looks for a dispatcher that went away.
const reconnectEvery = time.Second

// awaitServer waits until a dispatcher that does not answer any more, with the error why,
// is there again. Its error is another than that it is not there; why, if that is one.
func awaitServer(ctx context.Context, c *client.Client, why error, log io.Writer) error {
	if ctx.Err() == nil && away(why) {
		fmt.Fprintf(log, "%s; waiting for the dispatcher\n", visible(why.Error()))
	}
	for ; away(why); _, why = c.Endpoints(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectEvery):
		}
	}
	return why
}

// away tells whether err, of a client, means that the dispatcher is not there now.
func away(err error) bool {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status == http.StatusServiceUnavailable
	}
	return err != nil
}
