package app

import (
	"os"
	"testing"

	"github.com/regcast/regcast/config"
)

// What the file says comes first, and every address of a host is the name of none.
func TestSourceAddr(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip("this host has no name:", err)
	}
	for _, c := range []struct{ source, own, listen, want string }{
		{"", "", "127.0.0.1:5000", "127.0.0.1:5000"},
		{"", "", "[::]:5000", host + ":5000"},
		{"", "", "0.0.0.0:443", host + ":443"},
		{"registry.example", "", "127.0.0.1:5000", "registry.example"},
		{"registry.example", "other.example:5000", "[::]:5000", "other.example:5000"},
	} {
		cfg, proxy := config.Default(), config.Proxy{Source: config.Source{Addr: c.own}}
		cfg.Source.Addr = c.source
		if got := sourceAddr(cfg, &proxy, c.listen); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
