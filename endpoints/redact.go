package endpoints

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
)

// showURL is what may be shown of u: scheme, host and, if asked for, path.
func showURL(u *url.URL, path bool) string {
	shown := u.Scheme + "://" + u.Host
	if path {
		shown += u.EscapedPath()
	}
	return shown
}

// basic is the Authorization header of a URL's user information.
func basic(user *url.Userinfo) string {
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

func userSecrets(user *url.Userinfo) []string {
	password, _ := user.Password()
	return []string{basic(user), password}
}

// minBlotted is the length from which a value is taken for a secret: shorter ones are in
// any text.
const minBlotted = 6

const blotted = "<secret>"

// blot replaces secrets in text, and the credential of a secret with a scheme before it
// ("Bearer …") on its own, too.
func blot(text []byte, secrets []string) []byte {
	for _, s := range secrets {
		text = blotOne(text, s)
		if _, credential, ok := strings.Cut(s, " "); ok {
			text = blotOne(text, credential)
		}
	}
	return text
}

func blotOne(text []byte, secret string) []byte {
	if len(secret) < minBlotted {
		return text
	}
	return bytes.ReplaceAll(text, []byte(secret), []byte(blotted))
}
