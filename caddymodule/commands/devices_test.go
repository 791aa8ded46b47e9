package commands

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

// TestCertificatesThatAreLost issues one to a command that can do nothing with
// it: it is good all the same, and the command says how to take it back.
func TestCertificatesThatAreLost(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		answer  string
		revoked bool // the command says how
	}{
		"garbage in place of it": {http.StatusOK, `{"device": {"id": "0123456789ab"}, "chain": "garbage"}`, true},
		"none":                   {http.StatusNotFound, `{"error": "no user has this name"}`, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(adminapi.PortalHeader, "https://login.example.com")
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.answer))
		}))
		defer server.Close()
		cmd := new(cobra.Command)
		for flag, value := range map[string]string{"address": strings.TrimPrefix(server.URL, "http://"), "config": "", "adapter": ""} {
			cmd.Flags().String(flag, value, "")
		}
		cmd.Flags().Bool("json", false, "")
		cmd.SetErr(io.Discard)
		bundle := filepath.Join(t.TempDir(), "laptop.p12")
		err := issuing{bundle: bundle}.intoBundle(cmd, "ada", "Laptop")
		if err == nil || strings.Contains(err.Error(), "caddy mfa device revoke 0123456789ab") != test.revoked {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(bundle); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is left: %v", name, err)
		}
	}
}
