package importing

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parseTOTP reads a secret in base32, or an otpauth URI.
func parseTOTP(written string) (TOTP, error) {
	if !strings.HasPrefix(written, "otpauth:") {
		return TOTP{Secret: written}, nil
	}
	_, app, err := parseURI(written)
	return app, err
}

var errNoURI = errors.New("totp isn't an otpauth URI: otpauth://totp/NAME?secret=…")

// parseURI reads a key URI (https://github.com/google/google-authenticator/wiki/Key-Uri-Format),
// and returns the name of the account that it is of.
func parseURI(written string) (name string, app TOTP, err error) {
	u, err := url.Parse(written)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		return "", TOTP{}, errNoURI
	}
	query := u.Query()
	app = TOTP{Secret: query.Get("secret"), Algorithm: query.Get("algorithm")}
	for key, value := range map[string]*int{"digits": &app.Digits, "period": &app.Period} {
		if query.Has(key) {
			if *value, err = strconv.Atoi(query.Get(key)); err != nil {
				return "", TOTP{}, errNoURI
			}
		}
	}
	name = strings.TrimPrefix(u.Path, "/")
	if _, account, found := strings.Cut(name, ":"); found {
		name = account
	}
	return strings.TrimSpace(name), app, nil
}

// ParseApps reads what Authelia exports by `storage user totp export`, as csv or as uri,
// and returns authenticator apps by their user.
func ParseApps(content []byte) (map[string][]TOTP, error) {
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("otpauth:")) {
		return parseURIs(content)
	}
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading authenticator apps: %w", err)
	}
	at := make(map[string]int)
	for i, row := range rows {
		if i > 0 {
			break
		}
		for _, column := range []string{"username", "algorithm", "digits", "period", "secret"} {
			at[column] = slices.IndexFunc(row, func(name string) bool { return strings.EqualFold(name, column) })
			if at[column] < 0 {
				return nil, fmt.Errorf("line 1: there is no column %s: export them with authelia storage user totp export csv", column)
			}
		}
	}
	apps := make(map[string][]TOTP)
	for i, row := range rows[min(1, len(rows)):] {
		digits, errDigits := strconv.Atoi(row[at["digits"]])
		period, errPeriod := strconv.Atoi(row[at["period"]])
		if errDigits != nil || errPeriod != nil {
			return nil, fmt.Errorf("line %d: digits or period isn't a number", i+2)
		}
		name := row[at["username"]]
		apps[name] = append(apps[name], TOTP{Secret: row[at["secret"]], Algorithm: row[at["algorithm"]], Digits: digits, Period: period})
	}
	return apps, nil
}

func parseURIs(content []byte) (map[string][]TOTP, error) {
	apps := make(map[string][]TOTP)
	line := 0
	for written := range strings.Lines(string(content)) {
		line++
		if written = strings.TrimSpace(written); written == "" {
			continue
		}
		name, app, err := parseURI(written)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		apps[name] = append(apps[name], app)
	}
	return apps, nil
}
