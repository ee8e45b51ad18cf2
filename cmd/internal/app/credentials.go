package app

import (
	"log/slog"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
)

// credentials are the tokens of the configuration that applies now. Files are read again
// when they change.
type credentials struct {
	intakeTokens []endpoints.Secret
	adminTokens  []namedSecret
}

type namedSecret struct {
	name   string
	role   admin.Role
	secret endpoints.Secret
}

// secretOf is the secret that a key and its _file twin give, nil if neither does.
func secretOf(value config.Secret, file string) endpoints.Secret {
	switch {
	case file != "":
		return endpoints.SecretFile(file)
	case value.IsSet():
		return endpoints.SecretString(value.Reveal())
	default:
		return nil
	}
}

func credentialsOf(cfg *config.Config) *credentials {
	c := new(credentials)
	if s := secretOf(cfg.Intake.Token, cfg.Intake.TokenFile); s != nil {
		c.intakeTokens = append(c.intakeTokens, s)
	}
	for _, t := range cfg.Intake.Tokens {
		c.intakeTokens = append(c.intakeTokens, endpoints.SecretString(t.Reveal()))
	}
	for _, t := range cfg.Admin.Tokens {
		c.adminTokens = append(c.adminTokens, namedSecret{t.Name, admin.Role(t.Role), secretOf(t.Token, t.TokenFile)})
	}
	return c
}

// intake are the tokens of which senders must present one, unless none is configured. One
// that cannot be read is left out and logged: whoever presents it is refused.
func (c *credentials) intake(logger *slog.Logger) (tokens []string, anonymous bool) {
	if len(c.intakeTokens) == 0 {
		return nil, true
	}
	for _, s := range c.intakeTokens {
		value, err := s()
		if err != nil {
			logger.Error("reading an intake token", "error", err)
			continue
		}
		tokens = append(tokens, value)
	}
	return tokens, false
}

// admin are the tokens of the admin API. One that cannot be read stays in the list
// without a value, so that its loss does not open the door.
func (c *credentials) admin(logger *slog.Logger) []admin.Token {
	var out []admin.Token
	for _, t := range c.adminTokens {
		value, err := t.secret()
		if err != nil {
			logger.Error("reading an admin token", "token", t.name, "error", err)
		}
		out = append(out, admin.Token{Name: t.name, Role: t.role, Value: value})
	}
	return out
}
