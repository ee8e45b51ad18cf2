package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/verify"
)

// CheckContents warns of files that are there and hold nothing that can be used: a secret
// that signs nothing, credentials that are no JSON. They are no problem of the
// configuration, as each is read again when it changes, and until then holds its endpoint.
// Files that are empty or cannot be read are left to [config.Config.CheckFiles].
func CheckContents(cfg *config.Config) (warnings config.Problems) {
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		path := fmt.Sprintf("endpoint[%d]", i)
		for n, file := range c.Signing.SecretFiles {
			if err := checkSigningSecret(file); err != nil {
				warnings = append(warnings, cfg.Problem(fmt.Sprintf("%s.signing.secret_files[%d]", path, n), "%s: %v", file, err))
			}
		}
		for key, file := range map[string]string{"source_auth_file": c.SourceAuthFile, "target_auth_file": c.TargetAuthFile} {
			if err := checkDockerConfig(file); err != nil {
				warnings = append(warnings, cfg.Problem(path+"."+key, "%s is no configuration of Docker's: %v", file, err))
			}
		}
	}
	warnings.Sort()
	return warnings
}

func checkSigningSecret(file string) error {
	if !isFilled(file) {
		return nil
	}
	secret, err := endpoints.SecretFile(file)()
	if err != nil {
		return err
	}
	_, err = verify.ParseKey(secret)
	return err
}

// checkDockerConfig says why a file cannot be one, without the helpers that it may name and
// without a word of what is in it.
func checkDockerConfig(file string) error {
	if !isFilled(file) {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var config struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredsStore  string                     `json:"credsStore"`
		CredHelpers map[string]string          `json:"credHelpers"`
	}
	err = json.Unmarshal(content, &config)
	switch {
	case err != nil:
		return errors.New("it is not the JSON that docker login leaves")
	case len(config.Auths) == 0 && config.CredsStore == "" && len(config.CredHelpers) == 0:
		return errors.New("it has neither auths nor a credential helper")
	}
	return nil
}

// isFilled tells whether there is something in a file. Opening a pipe would wait, or take
// what is in it.
func isFilled(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}
