// Command mfa-agent makes this machine a managed device: it gets a certificate from
// the portal, installs it where browsers look for it, and renews it in time.
package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/agent"
	"github.com/portcullis-mfa/portcullis/agent/browser"
	"github.com/portcullis-mfa/portcullis/agent/confirmation"
	"github.com/portcullis-mfa/portcullis/agent/estclient"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

// version is set when the agent is built.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// options are the flags that all commands have.
type options struct {
	folder string
	ca     string
	http   *http.Client // while with runs
}

func root() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "mfa-agent", Short: "Makes this machine a managed device and keeps its certificate up to date", Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&o.folder, "folder", defaultFolder(), "Folder with the keys and the state")
	cmd.PersistentFlags().StringVar(&o.ca, "ca", "", "File with CA certificates that vouch for the portal (default: the system's)")
	cmd.AddCommand(o.enrol(), o.confirm(), o.tick(), o.status(), o.remove(), o.install(), o.policy())
	return cmd
}

func defaultFolder() string {
	folder, err := os.UserConfigDir()
	if err != nil {
		folder = "."
	}
	return filepath.Join(folder, "mfa-agent")
}

func (o *options) enrol() *cobra.Command {
	var grant agent.Grant
	var secret string
	var noBrowser bool
	cmd := &cobra.Command{
		Use: "enrol PORTAL", Short: "Gets a certificate and installs it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			portal, err := portalAddress(args[0])
			if err != nil {
				return err
			}
			if grant.Secret, err = readSecret(cmd, secret); err != nil {
				return err
			}
			grant.Portal = portal
			if grant.Secret == "" {
				finish, err := o.letConfirm(cmd.ErrOrStderr(), &grant, noBrowser)
				if err != nil {
					return err
				}
				defer finish()
			}
			if grant.Out != "" {
				if grant.Out, err = filepath.Abs(grant.Out); err != nil {
					return err
				}
			}
			return o.with(func(a *agent.Agent) error {
				if err := a.Enrol(cmd.Context(), grant); err != nil {
					return err
				}
				return tell(cmd.OutOrStdout(), a)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&secret, "token", "", "One-time token, or - to read it from standard input (default: somebody confirms in a browser)")
	flags.BoolVar(&noBrowser, "no-browser", false, "Print a code to enter in a browser on another machine")
	flags.StringVar(&grant.Name, "name", hostname(), "Name of the device")
	flags.StringVar(&grant.Out, "out", "", "Folder that gets key.pem and certificate.pem, for programs (default: none)")
	return cmd
}

// letConfirm has somebody confirm the enrolment, in a browser on this machine or on another
// one. finish has to be called once the enrolment is over.
func (o *options) letConfirm(w io.Writer, grant *agent.Grant, noBrowser bool) (finish func(), err error) {
	if noBrowser {
		grant.Confirm = o.byCode(w, *grant)
		return func() {}, nil
	}
	return byBrowser(w, grant)
}

// byBrowser has somebody confirm the enrolment in a browser on this machine. finish
// leads the browser on, once the enrolment is over.
func byBrowser(w io.Writer, grant *agent.Grant) (finish func(), err error) {
	waiting, err := confirmation.Listen()
	if err != nil {
		return nil, err
	}
	grant.Confirm = func(ctx context.Context, key crypto.Signer) (string, error) {
		page, err := waiting.Address(grant.Portal, confirmation.Machine{Key: key.Public(), Name: grant.Name, System: system})
		if err != nil {
			return "", err
		}
		fmt.Fprintf(w, "Confirm in your browser that this machine is yours. If no page opens, open this address on this machine:\n%s\n", page)
		_ = confirmation.Open(ctx, page) // the address was printed
		return waiting.Wait(ctx)
	}
	return func() { _ = waiting.Finish(grant.Portal + "/account/devices") }, nil // the browser may be gone
}

// byCode has somebody confirm the enrolment in a browser on another machine.
func (o *options) byCode(w io.Writer, grant agent.Grant) func(context.Context, crypto.Signer) (string, error) {
	return func(ctx context.Context, key crypto.Signer) (string, error) {
		question, err := o.dial(grant.Portal).Ask(ctx, key, grant.Name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(w, "Open this address on a machine with a browser:\n%s\nSign in, and enter this code within 5 minutes:\n%s\n", question.Page, question.Code)
		return question.Secret, nil
	}
}

// system is what the agent tells the portal that the machine runs.
const system = runtime.GOOS + "/" + runtime.GOARCH

// confirm has somebody confirm a machine that enrolled with a fleet token.
func (o *options) confirm() *cobra.Command {
	var noBrowser bool
	cmd := &cobra.Command{
		Use: "confirm", Short: "Lets you confirm that this machine is yours, after it enrolled with a fleet token", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(func(a *agent.Agent) error {
				state, err := a.Status()
				if err != nil {
					return err
				}
				grant := agent.Grant{Portal: state.Portal, Name: state.Name}
				finish, err := o.letConfirm(cmd.ErrOrStderr(), &grant, noBrowser)
				if err != nil {
					return err
				}
				defer finish()
				if err := a.Claim(cmd.Context(), grant.Confirm); err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "Confirmed. This machine is now one of your devices.")
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "Print a code to enter in a browser on another machine")
	return cmd
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func portalAddress(written string) (string, error) {
	portal, err := url.Parse(written)
	local := err == nil && (portal.Hostname() == "localhost" || strings.HasSuffix(portal.Hostname(), ".localhost"))
	if err != nil || portal.Host == "" || portal.Scheme != "https" && !(local && portal.Scheme == "http") {
		return "", fmt.Errorf("%q isn't the address of a portal: write https://login.example.com", written)
	}
	return portal.Scheme + "://" + portal.Host, nil
}

func readSecret(cmd *cobra.Command, flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func (o *options) tick() *cobra.Command {
	return &cobra.Command{
		Use: "tick", Short: "Finishes what was begun, and renews the certificate when it's due", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(func(a *agent.Agent) error { return a.Tick(cmd.Context()) })
		},
	}
}

func (o *options) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Shows this machine's device and certificate", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(func(a *agent.Agent) error { return tell(cmd.OutOrStdout(), a) })
		},
	}
}

func (o *options) remove() *cobra.Command {
	return &cobra.Command{
		Use: "remove", Short: "Revokes the certificate and deletes it with its key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(func(a *agent.Agent) error {
				if err := a.Remove(cmd.Context()); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "Removed. This machine is no longer a managed device.")
				return err
			})
		},
	}
}

// tell writes where the agent is.
func tell(w io.Writer, a *agent.Agent) error {
	state, err := a.Status()
	if err != nil {
		return err
	}
	switch {
	case state.Portal == "":
		_, err = fmt.Fprintln(w, "This machine isn't enrolled.")
	case state.Problem != "":
		_, err = fmt.Fprintf(w, "%s\nPortal: %s\n", state.Problem, state.Portal)
	case len(state.Held) == 0:
		_, err = fmt.Fprintf(w, "Enrolment at %s isn't finished: mfa-agent tick will continue it.\n", state.Portal)
	default:
		newest := state.Held[0]
		_, err = fmt.Fprintf(w, "Portal:  %s\nDevice:  %s\nExpires: %s\n", state.Portal, state.Name, newest.Expires.Local().Format("2006-01-02 15:04:05 MST"))
		for _, store := range newest.Installed {
			_, storeErr := fmt.Fprintf(w, "In:      %s\n", store)
			err = errors.Join(err, storeErr)
		}
	}
	return err
}

// with runs something with the agent of the folder, alone.
func (o *options) with(do func(*agent.Agent) error) error {
	folder, err := journal.Open(o.folder)
	if err != nil {
		return err
	}
	unlock, err := journal.Lock(o.folder)
	if err != nil {
		return err
	}
	defer unlock()
	if o.http, err = o.client(); err != nil {
		return err
	}
	return do(&agent.Agent{
		Files: folder, Machine: machineID(),
		Dial:   func(address string) agent.Portal { return o.dial(address) },
		Stores: stores, Clock: time.Now,
	})
}

// dial returns the portal at an address.
func (o *options) dial(address string) *estclient.Client {
	return &estclient.Client{Portal: address, HTTP: o.http, About: map[string]string{
		"Device-Machine": machineID(), "Device-System": system, "Device-Agent": version, "Device-Protection": "file",
	}}
}

func stores(out string) []agent.Store {
	var all []agent.Store
	if out != "" {
		return append(all, browser.Files(out))
	}
	home, err := os.UserHomeDir()
	if err != nil || runtime.GOOS != "linux" {
		return all
	}
	for _, database := range browser.Databases(home) {
		all = append(all, withSetting{database})
	}
	return all
}

// withSetting is a database whose browser shows the certificate without asking.
type withSetting struct{ browser.NSS }

// machineID identifies the machine without telling its own identifier.
func machineID() string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		id = []byte(hostname())
	}
	sum := sha256.Sum256(append([]byte("mfa-agent "), id...))
	return hex.EncodeToString(sum[:8])
}

func (o *options) client() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() // it has the system's proxy
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		// Browsers find such names on this machine (RFC 6761 §6.3); not every resolver does.
		if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
			address = net.JoinHostPort("localhost", port)
		}
		return dialer.DialContext(ctx, network, address)
	}
	if o.ca != "" {
		content, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s contains no certificate", o.ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, nil
}
