package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// Load reads the configuration file at path and checks all of it: the file's own rules,
// the files that it names, and what Check finds.
//
// Errors: those of reading the file; [config.Problems], all of them, in the order of the
// file.
func Load(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if cfg == nil {
		return nil, err
	}
	problems, _ := errors.AsType[config.Problems](err)
	if problems = problems.Merge(Check(cfg)); len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}

// Check reports what is wrong with cfg beyond what the file's own rules can see: globs
// that do not compile, options that an endpoint refuses, certificates that are none.
func Check(cfg *config.Config) config.Problems {
	var problems config.Problems
	if _, err := serverTLS(cfg.Intake.TLS); err != nil {
		problems = append(problems, cfg.Problem("intake.tls", "%v", err))
	}
	if _, err := serverTLS(cfg.Admin.TLS); err != nil {
		problems = append(problems, cfg.Problem("admin.tls", "%v", err))
	}
	for i := range cfg.Proxies {
		problems = append(problems, checkProxy(cfg, i)...)
	}
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if c.Kind != config.KindWebhook && c.Kind != config.KindMirror {
			continue // the file's own rules have seen that
		}
		path := fmt.Sprintf("endpoint[%d]", i)
		opts, err := endpointOptions(c)
		if err == nil {
			var ep *endpoints.Endpoint
			if ep, err = buildEndpoint(c, opts, nil); err == nil {
				err = ep.Shutdown(context.Background())
			}
		}
		for _, err := range flatten(err) {
			problems = append(problems, problem(cfg, path, err))
		}
	}
	problems.Sort()
	return problems
}

// problem is err, about the endpoint at path, with the key that it is about.
func problem(cfg *config.Config, path string, err error) config.Problem {
	if rule, ok := errors.AsType[*sinks.RuleError](err); ok {
		message, value := rule.Err.Error(), strconv.Quote(rule.Value)
		if !strings.Contains(message, value) {
			message = value + ": " + message
		}
		return cfg.Problem(path+"."+rule.Key, "%s", message)
	}
	if option, ok := errors.AsType[*endpoints.OptionError](err); ok {
		return cfg.Problem(path+"."+option.Option, "%v", option.Err)
	}
	return cfg.Problem(path, "%v", err)
}

// flatten returns the members of a joined error, or the error alone.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
