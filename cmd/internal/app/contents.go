package app

import (
	"fmt"
	"os"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/verify"
)

// CheckContents warns of files that are there and hold nothing that can be used: a secret
// that signs nothing, credentials that are none. They are no problem of the
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
			if !isFilled(file) {
				continue
			}
			if err := auth.CheckDockerConfig(file); err != nil {
				warnings = append(warnings, cfg.Problem(path+"."+key, "%s holds no credentials: %v", file, err))
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

// isFilled tells whether there is something in a file. Opening a pipe would wait, or take
// what is in it.
func isFilled(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}
