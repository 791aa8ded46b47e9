package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

// call is one request to the admin API.
type call struct {
	method string
	path   []string // below /mfa/, each part not yet escaped
	query  url.Values
	body   any
}

// send asks the running server, and returns its answer. For a person it says
// on standard error which server that was.
func (c call) send(cmd *cobra.Command) ([]byte, error) {
	answer, portal, err := c.ask(cmd)
	if err != nil {
		return nil, err
	}
	if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
		return answer, err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Portal: %s\n", showable.Text(portal))
	return answer, err
}

// ask asks the running server, and returns its answer and which portal it is.
func (c call) ask(cmd *cobra.Command) (answer []byte, portal string, err error) {
	response, err := c.open(cmd)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return nil, "", fmt.Errorf("reading the server's answer: %w", err)
	}
	return answer, response.Header.Get(adminapi.PortalHeader), nil
}

// open asks the running server, and returns its answer, which isn't read yet.
func (c call) open(cmd *cobra.Command) (*http.Response, error) {
	address, err := adminAddress(cmd)
	if err != nil {
		return nil, err
	}
	uri, err := c.uri()
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if c.method != http.MethodGet {
		written, err := json.Marshal(c.body)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(written)
	}
	response, err := caddycmd.AdminAPIRequest(address, c.method, uri, nil, body)
	if err != nil {
		return nil, plainly(address, err)
	}
	if response.Header.Get(adminapi.PortalHeader) == "" {
		return nil, errors.Join(strangerError(address), response.Body.Close())
	}
	return response, nil
}

// uri returns the path and query to ask for.
func (c call) uri() (string, error) {
	escaped := make([]string, len(c.path))
	for i, part := range c.path {
		if part == "" || part == "." || part == ".." {
			// No part of a URL's path, and nobody's name either.
			return "", fmt.Errorf("%q can't be a name or an ID", part)
		}
		escaped[i] = url.PathEscape(part)
	}
	uri := "/mfa/" + strings.Join(escaped, "/")
	if len(c.query) > 0 {
		uri += "?" + c.query.Encode()
	}
	return uri, nil
}

// adminAddress is where to ask: at --address, else where the file of --config
// says, else at Caddy's default, which CADDY_ADMIN sets.
func adminAddress(cmd *cobra.Command) (string, error) {
	var values [3]string
	for i, name := range []string{"address", "config", "adapter"} {
		var err error
		if values[i], err = cmd.Flags().GetString(name); err != nil {
			return "", err
		}
	}
	address, file, adapter := values[0], values[1], values[2]
	var config []byte
	if address == "" && file != "" {
		var err error
		if config, _, _, err = caddycmd.LoadConfig(file, adapter); err != nil {
			return "", fmt.Errorf("finding the admin address: %w", err)
		}
		if isAdminOff(config) {
			return "", fmt.Errorf("%s turns Caddy's admin endpoint off (admin off), and the commands need it: give it an address, such as admin localhost:2019", file)
		}
	}
	address, err := caddycmd.DetermineAdminAPIAddress(address, config, file, adapter)
	if err != nil {
		return "", fmt.Errorf("finding the admin address: %w", err)
	}
	return address, nil
}

// isAdminOff reports whether a configuration has no admin endpoint. What can't
// be read is left to Caddy, which says what is wrong with it.
func isAdminOff(config []byte) bool {
	var c struct {
		Admin caddy.AdminConfig `json:"admin"`
	}
	return json.Unmarshal(config, &c) == nil && c.Admin.Disabled
}

// plainly takes the server's own sentence out of what Caddy makes of a refused
// request, and says whose it is.
func plainly(address string, err error) error {
	var answer adminapi.Failure
	text := err.Error()
	if start := strings.IndexByte(text, '{'); start >= 0 && json.Unmarshal([]byte(text[start:]), &answer) == nil && answer.Error != "" {
		said := errors.New(answer.Error)
		if answer.Portal != "" {
			said = fmt.Errorf("%s (portal %s)", answer.Error, showable.Text(answer.Portal))
		}
		if strings.Contains(text[:start], "HTTP 404") {
			return notFound{said}
		}
		return said
	}
	if strings.Contains(text, "HTTP 404") {
		return strangerError(address)
	}
	return fmt.Errorf("no answer from Caddy's admin endpoint at %s: is Caddy running, and is the address right? %w", address, err)
}

// strangerError says that what answered doesn't know Portcullis.
func strangerError(address string) error {
	return fmt.Errorf("the server at %s doesn't run Portcullis: give the right address with --address, with --config, or in the environment variable CADDY_ADMIN", address)
}

// as decodes the answer for tell.
func as[T any](tell func(w io.Writer, answer T) error) func(io.Writer, []byte) error {
	return func(w io.Writer, raw []byte) error {
		var answer T
		if err := json.Unmarshal(raw, &answer); err != nil {
			return fmt.Errorf("reading the server's answer: %w", err)
		}
		return tell(w, answer)
	}
}
