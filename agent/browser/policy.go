package browser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// policyName is Chromium's policy by which it shows a certificate without asking.
const policyName = "AutoSelectCertificateForUrls"

// policyFile is the name of the file of our own in each folder.
const policyFile = "mfa-agent.json"

// PolicyFolders are where Chromium-based browsers read policies on Linux. Only
// administrators of the machine can write there.
var PolicyFolders = []string{
	"/etc/chromium/policies/managed", "/etc/chromium-browser/policies/managed", "/etc/opt/chrome/policies/managed", "/etc/opt/edge/policies/managed",
}

// Selection says which certificate browsers show to which sites.
type Selection struct {
	Sites  string // such as https://[*.]example.com
	Issuer string // common name of who issued the certificate
}

// WritePolicy has the browsers of a policy folder show the certificate. It changes no
// other files, and returns an error if one of them sets the same policy, which would
// replace ours.
func WritePolicy(folder string, s Selection) error {
	others, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return err
	}
	for _, other := range others {
		if filepath.Base(other) == policyFile {
			continue
		}
		content, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte(policyName)) {
			return fmt.Errorf("%s already sets %s: add %s there", other, policyName, s.rule())
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	content, err := json.MarshalIndent(map[string][]string{policyName: {s.rule()}}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, policyFile), append(content, '\n'), 0o644)
}

func (s Selection) rule() string {
	rule, err := json.Marshal(map[string]any{
		"pattern": s.Sites, "filter": map[string]any{"ISSUER": map[string]string{"CN": s.Issuer}},
	})
	if err != nil {
		panic(err) // texts can be encoded
	}
	return string(rule)
}

// firefoxSetting has Firefox show a certificate without asking.
const firefoxSetting = `user_pref("security.default_personal_cert", "Select Automatically");`

// WriteSetting has the Firefox of a profile's database show certificates without
// asking, unless its user has decided about that. For databases of others it does
// nothing.
func (n NSS) WriteSetting() error {
	if !exists(filepath.Join(string(n), "prefs.js")) && !exists(filepath.Join(string(n), "times.json")) {
		return nil
	}
	path := filepath.Join(string(n), "user.js")
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.Contains(string(content), "security.default_personal_cert") {
		return nil
	}
	if len(content) > 0 && !bytes.HasSuffix(content, []byte("\n")) {
		content = append(content, '\n')
	}
	return os.WriteFile(path, append(content, firefoxSetting+"\n"...), 0o600)
}
