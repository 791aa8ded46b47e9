package commands

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/token"
)

// bundlePassword is how many letters of five bits the password of a bundle has:
// people type it once, on the device.
const bundlePassword = 16

func deviceCommand() *cobra.Command {
	cmd := group("device", "Issues, lists and revokes the certificates of devices")
	revoke := new(adminapi.Revocation)
	revokeCommand := command("revoke ID", "Revokes a device and ends everything that it opened", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"devices", args[0], "revoke"}, body: revoke}
		},
		as(func(w io.Writer, d adminapi.Device) error {
			_, err := fmt.Fprintf(w, "Revoked: %s, serial %s.\n", showable.Text(d.Name), d.Serial)
			return err
		}))
	revokeCommand.Flags().StringVar(&revoke.Reason, "reason", devices.DefaultReason, "Reason for the revocation list: "+strings.Join(devices.Reasons(), ", "))
	cmd.AddCommand(
		issueCommand(),
		command("list [USER]", "Lists devices, including revoked and expired ones", atMost(1),
			func(_ *cobra.Command, args []string) call {
				c := call{method: http.MethodGet, path: []string{"devices"}}
				if len(args) > 0 {
					c.query = url.Values{"user": {args[0]}}
				}
				return c
			},
			as(tellDevices)),
		command("show ID", "Shows a device", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodGet, path: []string{"devices", args[0]}}
			},
			as(tellDevice)),
		command("rename ID NAME", "Gives a device another name; its certificate keeps the old one", exactly(2),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"devices", args[0], "rename"}, body: adminapi.NewName{Name: args[1]}}
			},
			tellDone("Renamed.")),
		tokenForDevice(),
		fleetCommand(),
		command("suspend ID", "Keeps a device out until it is approved, and ends everything that it opened", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"devices", args[0], "suspend"}}
			},
			tellDone("Suspended.")),
		command("approve ID", "Lets a pending or suspended device in", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"devices", args[0], "approve"}}
			},
			tellDone("Approved.")),
		command("assign ID USER", "Assigns a device to a user and lets it in", exactly(2),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"devices", args[0], "assign"}, body: adminapi.NewOwner{User: args[1]}}
			},
			tellDone("Assigned.")),
		alsoTyped(revokeCommand, "delete", "remove", "rm"),
	)
	return cmd
}

// tokenForDevice makes a token by which one machine enrols.
func tokenForDevice() *cobra.Command {
	name := new(adminapi.NewName)
	cmd := command("token USER", "Creates a token that enrols one machine as a user's device", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"users", args[0], "enrolment-token"}, body: name}
		},
		as(func(w io.Writer, t adminapi.EnrolmentToken) error {
			_, err := fmt.Fprintf(w, "Token: %s\n\nIt works once, until %s. On the machine, run:\n\n  mfa-agent enrol %s --token -\n\nand enter the token.\n",
				t.Token, stamp(t.Expires), t.Portal)
			return err
		}))
	cmd.Flags().StringVar(&name.Name, "name", "", "Name of the device (default: what the machine calls itself)")
	return cmd
}

func tellDevices(w io.Writer, all []adminapi.Device) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No devices.")
		return err
	}
	table := newTable(w, "ID", "USER", "NAME", "STATUS", "EXPIRES", "LAST SEEN")
	for _, d := range all {
		seen := "never"
		if !d.LastSeen.IsZero() {
			seen = stamp(d.LastSeen)
		}
		table.row(d.ID, d.User, d.Name, inWords(d.Status), stamp(d.Expires), seen)
	}
	return table.close()
}

func tellDevice(w io.Writer, d adminapi.Device) error {
	table := newTable(w)
	for _, line := range [][2]string{
		{"ID", d.ID}, {"User", d.User}, {"Name", d.Name}, {"Serial", d.Serial}, {"SHA-256", d.SHA256}, {"CA", d.Issuer},
		{"Machine", d.Machine}, {"System", d.System},
		{"Agent", d.Agent}, {"Key", d.Protection}, {"Enrolled by", inWords(d.Via)}, {"Replaces", d.Replaces}, {"Issued", stamp(d.Issued)}, {"Expires", stamp(d.Expires)}, {"Status", inWords(d.Status)},
	} {
		if line[1] != "" {
			table.row(line[0]+":", line[1])
		}
	}
	if !d.Revoked.IsZero() {
		table.row("Revoked:", stamp(d.Revoked)+", "+d.Reason)
	}
	if !d.LastSeen.IsZero() {
		table.row("Last seen:", stamp(d.LastSeen))
	}
	return table.close()
}

// inWords is how people write what JSON has in one word.
func inWords(word string) string { return strings.ReplaceAll(word, "_", " ") }

// issuing is what the flags of `device issue` ask for.
type issuing struct {
	request      string // file, or - for the standard input
	bundle       string // file
	passwordFile string
	legacy       bool
}

func issueCommand() *cobra.Command {
	var i issuing
	cmd := &cobra.Command{
		Use: "issue USER NAME", Short: "Issues a certificate for a user's device", Args: exactly(2), SilenceUsage: true,
		Long: `With --csr, certifies the key in a signing request that the device made, and prints
the certificate and those between it and the CA's root. With --out, makes the key
here, writes it and the certificates to a PKCS #12 file, and prints the file's
password once. The key is never sent to the server.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if i.request != "" {
				return i.fromRequest(cmd, args[0], args[1])
			}
			return i.intoBundle(cmd, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.request, "csr", "", "File with a signing request (PEM), or - for standard input")
	flags.StringVar(&i.bundle, "out", "", "PKCS #12 file to write (.p12); it must not exist yet")
	flags.StringVar(&i.passwordFile, "password-file", "", "File with the password of the PKCS #12 file (default: a new password is made and printed)")
	flags.BoolVar(&i.legacy, "legacy", false, "Write the PKCS #12 file with the weak encryption that old systems need")
	hold(cmd, needsOne("csr", "out"), excludes("csr", "out", "password-file", "legacy"))
	return cmd
}

// issuance is the server's answer, with what the command adds and the server
// never sees.
type issuance struct {
	adminapi.Issued
	File     string `json:"file,omitempty"`
	Password string `json:"password,omitempty"`
}

// issue asks the server for a certificate.
func issue(cmd *cobra.Command, user, name string, request []byte) (issuance, error) {
	var issued issuance
	answer, err := call{
		method: http.MethodPost, path: []string{"users", user, "devices"}, body: adminapi.NewDevice{Name: name, Request: string(request)},
	}.send(cmd)
	if err != nil {
		return issued, err
	}
	if err := json.Unmarshal(answer, &issued); err != nil {
		return issued, fmt.Errorf("reading the server's answer: %w", err)
	}
	return issued, nil
}

func (i issuing) fromRequest(cmd *cobra.Command, user, name string) error {
	request, err := readRequest(cmd, i.request)
	if err != nil {
		return fmt.Errorf("reading the signing request: %w", err)
	}
	issued, err := issue(cmd, user, name, request)
	if err != nil {
		return err
	}
	return issued.lost(told(cmd, issued, func(w io.Writer) error {
		_, err := io.WriteString(w, issued.Chain)
		return err
	}))
}

// lost says, of an error that came after a certificate was issued, what becomes
// of that.
func (issued issuance) lost(err error) error {
	if err == nil || issued.Device.ID == "" {
		return err
	}
	return fmt.Errorf("the certificate was issued but is lost: revoke it with caddy mfa device revoke %s: %w", issued.Device.ID, err)
}

func readRequest(cmd *cobra.Command, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(path)
}

// told writes an answer as JSON, where that is asked for, else as tell does.
func told(cmd *cobra.Command, answer any, tell func(io.Writer) error) error {
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
	}
	return tell(cmd.OutOrStdout())
}

func (i issuing) intoBundle(cmd *cobra.Command, user, name string) (err error) {
	password, made, err := i.password()
	if err != nil {
		return err
	}
	// The file comes first: a certificate that can't be written down is of no
	// use, and what is there already is never overwritten.
	file, err := os.OpenFile(i.bundle, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s already exists and won't be overwritten: give --out another name, or move the file away", i.bundle)
	}
	if err != nil {
		return fmt.Errorf("making the file that --out names: %w", err)
	}
	var issued issuance
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(issued.lost(err), os.Remove(i.bundle))
		}
	}()
	issued, bundle, err := i.makeBundle(cmd, user, name, password)
	if err != nil {
		return err
	}
	if _, err := file.Write(bundle); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	issued.File = i.bundle
	if made {
		issued.Password = password
	}
	return told(cmd, issued, issued.tellBundle)
}

// password returns what the bundle is locked by, and whether it was made here.
func (i issuing) password() (password string, made bool, err error) {
	if i.passwordFile == "" {
		code, err := token.NewCode(rand.Reader, bundlePassword)
		return token.Grouped(code), true, err
	}
	written, err := os.ReadFile(i.passwordFile)
	if err != nil {
		return "", false, fmt.Errorf("reading the password: %w", err)
	}
	password = strings.TrimRight(string(written), "\r\n")
	if password == "" {
		return "", false, fmt.Errorf("%s contains no password", i.passwordFile)
	}
	return password, false, nil
}

// makeBundle makes a key, has it certified and puts both into a PKCS #12 file.
func (i issuing) makeBundle(cmd *cobra.Command, user, name, password string) (issuance, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issuance{}, nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return issuance{}, nil, fmt.Errorf("making a signing request: %w", err)
	}
	issued, err := issue(cmd, user, name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	if err != nil {
		return issued, nil, err
	}
	chain, err := parseChain([]byte(issued.Chain))
	if err != nil {
		return issued, nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	encoder := pkcs12.Modern2023
	if i.legacy {
		encoder = pkcs12.LegacyDES
	}
	bundle, err := encoder.Encode(key, chain[0], chain[1:], password)
	if err != nil {
		return issued, nil, fmt.Errorf("writing PKCS #12: %w", err)
	}
	return issued, bundle, nil
}

// parseChain reads certificates, of which there is at least one.
func parseChain(written []byte) ([]*x509.Certificate, error) {
	var der bytes.Buffer
	for {
		block, rest := pem.Decode(written)
		if block == nil {
			break
		}
		der.Write(block.Bytes)
		written = rest
	}
	chain, err := x509.ParseCertificates(der.Bytes())
	if err == nil && len(chain) == 0 {
		err = errors.New("it contains no certificate")
	}
	return chain, err
}

func (issued issuance) tellBundle(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Written: %s, valid until %s.\n", issued.File, stamp(issued.Device.Expires))
	if issued.Password != "" {
		_, passwordErr := fmt.Fprintf(w, "Password: %s\n\nIt isn't kept anywhere. Import the file on the device, then delete it.\n", issued.Password)
		err = errors.Join(err, passwordErr)
	}
	return err
}
