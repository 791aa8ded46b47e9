package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/agent"
	"github.com/portcullis-mfa/portcullis/agent/browser"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

// Install imports the certificate, and has the browser show it without asking.
func (w withSetting) Install(ctx context.Context, key crypto.Signer, chain []*x509.Certificate) error {
	if err := w.NSS.Install(ctx, key, chain); err != nil {
		return err
	}
	return w.WriteSetting()
}

const serviceUnit = `[Unit]
Description=Renews the certificate of this device

[Service]
Type=oneshot
ExecStart=%q --folder %q tick
`

const timerUnit = `[Unit]
Description=Renews the certificate of this device

[Timer]
OnStartupSec=2min
OnUnitActiveSec=1h
RandomizedDelaySec=10min

[Install]
WantedBy=timers.target
`

const launchAgent = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key><string>mfa-agent</string>
	<key>ProgramArguments</key>
	<array><string>%s</string><string>--folder</string><string>%s</string><string>tick</string></array>
	<key>RunAtLoad</key><true/>
	<key>StartInterval</key><integer>3600</integer>
</dict>
</plist>
`

func (o *options) install() *cobra.Command {
	return &cobra.Command{
		Use: "install", Short: "Has the system run tick once an hour and when you log on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			if o.folder, err = filepath.Abs(o.folder); err != nil {
				return err
			}
			said, err := schedule(cmd.Context(), program, o.folder)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
}

// schedule writes what runs tick, and returns what it did.
func schedule(ctx context.Context, program, folder string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	switch runtime.GOOS {
	case "windows":
		command := fmt.Sprintf("\"%s\" --folder \"%s\" tick", program, folder)
		for name, when := range map[string][]string{"mfa-agent hourly": {"HOURLY"}, "mfa-agent log-on": {"ONLOGON"}} {
			out, err := exec.CommandContext(ctx, "schtasks", append([]string{"/Create", "/F", "/TN", name, "/TR", command, "/SC"}, when...)...).CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("schtasks: %w: %s", err, strings.TrimSpace(string(out)))
			}
		}
		return "Two scheduled tasks run mfa-agent tick.", nil
	case "darwin":
		path := filepath.Join(home, "Library/LaunchAgents/mfa-agent.plist")
		if err := write(path, fmt.Sprintf(launchAgent, program, folder)); err != nil {
			return "", err
		}
		return path + " runs mfa-agent tick from the next log-on.", nil
	}
	units := filepath.Join(home, ".config/systemd/user")
	if err := errors.Join(
		write(filepath.Join(units, "mfa-agent.service"), fmt.Sprintf(serviceUnit, program, folder)),
		write(filepath.Join(units, "mfa-agent.timer"), timerUnit),
	); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "systemctl", "--user", "enable", "--now", "mfa-agent.timer").CombinedOutput(); err != nil {
		return "", fmt.Errorf("the timer is in %s, but systemctl --user enable --now mfa-agent.timer failed: %w: %s", units, err, strings.TrimSpace(string(out)))
	}
	return "A systemd timer runs mfa-agent tick.", nil
}

func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

func (o *options) policy() *cobra.Command {
	var sites, folder string
	cmd := &cobra.Command{
		Use: "policy", Short: "Has Chromium-based browsers show the certificate without asking (as root)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			selection, err := o.selection(sites)
			if err != nil {
				return err
			}
			folders := browser.PolicyFolders
			if folder != "" {
				folders = []string{folder}
			}
			for _, folder := range folders {
				if err := browser.WritePolicy(folder, selection); errors.Is(err, fs.ErrPermission) {
					return fmt.Errorf("only root may write to %s: run sudo mfa-agent --folder %s policy", folder, o.folder)
				} else if err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Browsers show certificates of %s to %s.\n", selection.Issuer, selection.Sites)
			return err
		},
	}
	cmd.Flags().StringVar(&sites, "sites", "", "Sites that see the certificate, as a Chromium URL pattern (default: those next to the portal, such as https://[*.]example.com)")
	cmd.Flags().StringVar(&folder, "policies", "", "Folder of policies to write to (default: those of all known browsers)")
	return cmd
}

// selection is what the policy says about this machine's certificate.
func (o *options) selection(sites string) (browser.Selection, error) {
	folder, err := journal.Open(o.folder)
	if err != nil {
		return browser.Selection{}, err
	}
	state, err := journal.Load(folder)
	if err != nil {
		return browser.Selection{}, err
	}
	if len(state.Held) == 0 {
		return browser.Selection{}, agent.ErrNotEnrolled
	}
	content, err := folder.Read(state.Held[0].Certificate())
	if err != nil {
		return browser.Selection{}, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return browser.Selection{}, errors.New("the certificate can't be read")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return browser.Selection{}, err
	}
	if sites == "" {
		portal, err := url.Parse(state.Portal)
		if err != nil {
			return browser.Selection{}, err
		}
		_, domain, _ := strings.Cut(portal.Hostname(), ".")
		sites = "https://[*.]" + domain
	}
	return browser.Selection{Sites: sites, Issuer: certificate.Issuer.CommonName}, nil
}
