package endpoints

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// tlsFiles are the files that [TLSOptions] name, by what they are for.
type tlsFiles map[tlsRole]*watchedFile

type tlsRole string

const (
	roleCA   tlsRole = "ca_file"
	roleCert tlsRole = "cert_file"
	roleKey  tlsRole = "key_file"
)

func tlsFilesOf(o *TLSOptions) tlsFiles {
	files := make(tlsFiles)
	for role, path := range map[tlsRole]string{roleCA: o.CAFile, roleCert: o.CertFile, roleKey: o.KeyFile} {
		if path != "" {
			files[role] = &watchedFile{path: path}
		}
	}
	return files
}

// load reads what has changed.
func (t tlsFiles) load() (changed bool, err error) {
	for role, file := range t {
		c, err := file.load()
		if err != nil {
			return false, fmt.Errorf("%s: %w", role, err)
		}
		changed = changed || c
	}
	return changed, nil
}

// apply makes conf trust and show what the files say.
func (t tlsFiles) apply(conf *tls.Config) error {
	if ca, ok := t[roleCA]; ok {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca.content) {
			return fmt.Errorf("%s: no certificate in %s", roleCA, ca.path)
		}
	}
	if cert, ok := t[roleCert]; ok {
		pair, err := tls.X509KeyPair(cert.content, t[roleKey].content)
		if err != nil {
			return fmt.Errorf("%s: %w", roleCert, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return nil
}
