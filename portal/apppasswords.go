package portal

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

const appPasswordsPath = accountPath + "/app-passwords"

// PasswordApp is an app for which somebody may create app passwords.
type PasswordApp struct {
	Host string
	// Longest is how long they work, and Most how many a person may have.
	Longest time.Duration
	Most    int
}

// appPasswordWay is how the first page of an account leads to the app passwords;
// somebody who has none and can't create any sees nothing of it.
func (p *Portal) appPasswordWay(r *http.Request, t words, v visitor) ([]templates.Way, error) {
	own, err := p.appPasswordsOf(r, v)
	if err != nil || len(own) == 0 && len(p.AppPasswords(v.user)) == 0 {
		return nil, err
	}
	way := templates.Way{Kind: "app_password", Name: t.say("portal.app_passwords.title"), URL: appPasswordsPath, State: t.say("portal.app_passwords.none"), Daily: true}
	if len(own) > 0 {
		way.State = t.count("portal.app_passwords.state", len(own))
	}
	for _, one := range own {
		if one.LastUsed.After(way.LastUsed) {
			way.LastUsed = one.LastUsed
		}
	}
	return []templates.Way{way}, nil
}

// appPasswordsOf returns somebody's app passwords, as pages show them.
func (p *Portal) appPasswordsOf(r *http.Request, v visitor) ([]templates.OwnAppPassword, error) {
	all, err := p.Accounts.AppPasswordsOf(r.Context(), v.user.ID)
	if err != nil {
		return nil, fmt.Errorf("listing app passwords: %w", err)
	}
	own := make([]templates.OwnAppPassword, len(all))
	for i, one := range all {
		own[i] = templates.OwnAppPassword{
			ID: one.ID, Name: one.Name, Hosts: one.Hosts, Created: local(one.Created), Expires: local(one.Expires),
			LastUsed: local(one.LastUsed), Suspended: one.Suspended,
		}
	}
	return own, nil
}

// showAppPasswords lists somebody's app passwords, and the apps for which they can
// create one.
func (p *Portal) showAppPasswords(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	own, err := p.appPasswordsOf(r, v)
	if err != nil {
		return err
	}
	view := templates.AppPasswordsView{Frame: p.frame(r), Done: p.done(w, r), Passwords: own}
	for _, app := range p.AppPasswords(v.user) {
		view.Apps = append(view.Apps, templates.PasswordApp{Host: app.Host, URL: addressed(appPasswordsPath+"/add", "host", app.Host)})
	}
	return p.page(w, r, http.StatusOK, "account_app_passwords", view)
}

// passwordApp returns an app for which somebody may create app passwords.
func (p *Portal) passwordApp(u store.User, host string) (PasswordApp, error) {
	apps := p.AppPasswords(u)
	i := slices.IndexFunc(apps, func(app PasswordApp) bool { return app.Host == host })
	if i < 0 {
		return PasswordApp{}, errNotFound
	}
	return apps[i], nil
}

// showAddAppPassword asks what the new app password is to be called.
func (p *Portal) showAddAppPassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	app, err := p.passwordApp(v.user, r.URL.Query().Get("host"))
	if err != nil {
		return err
	}
	return p.appPasswordForm(w, r, http.StatusOK, app, "", templates.Message{})
}

func (p *Portal) appPasswordForm(w http.ResponseWriter, r *http.Request, status int, app PasswordApp, typed string, message templates.Message) error {
	return p.page(w, r, status, "account_app_password_add", templates.AddAppPasswordView{
		Frame: p.frame(r), Host: app.Host, Until: local(p.Clock().Add(app.Longest)), Typed: typed, Error: message,
	})
}

// addAppPassword creates an app password and shows it, this once.
func (p *Portal) addAppPassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	app, err := p.passwordApp(v.user, r.PostFormValue("host"))
	if err != nil {
		return err
	}
	wanted := selfservice.NewAppPassword{Name: r.PostFormValue("name"), Host: app.Host, Lifetime: app.Longest, Most: app.Most}
	secret, err := p.Accounts.CreateAppPassword(r.Context(), v.signOn, v.user, wanted, p.client(r))
	if refusal, ok := p.refusalOf(w, r, form{}, err); ok {
		return p.appPasswordForm(w, r, refusal.status, app, wanted.Name, refusal.message)
	}
	if errors.Is(err, selfservice.ErrTooManyAppPasswords) {
		return p.appPasswordForm(w, r, http.StatusConflict, app, wanted.Name, templates.Message{
			Field: "name", Text: p.words(r).count("portal.app_passwords.full", app.Most),
		})
	}
	if err != nil {
		return fmt.Errorf("creating an app password: %w", err)
	}
	return p.page(w, r, http.StatusOK, "account_app_password_made", templates.MadeAppPasswordView{
		Frame: p.frame(r), Host: app.Host, User: v.user.Name, Secret: secret, Until: local(p.Clock().Add(app.Longest)),
	})
}

// askRevokeAppPassword says what revoking an app password ends, before the button.
func (p *Portal) askRevokeAppPassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	own, err := p.appPasswordsOf(r, v)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("id")
	i := slices.IndexFunc(own, func(one templates.OwnAppPassword) bool { return one.ID == id })
	if i < 0 {
		return errNotFound
	}
	return p.page(w, r, http.StatusOK, "account_app_password_revoke", templates.RevokeAppPasswordView{Frame: p.frame(r), Password: own[i]})
}

// revokeAppPassword revokes one of a person's own app passwords.
func (p *Portal) revokeAppPassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	if err := p.Accounts.RevokeAppPassword(r.Context(), v.user, r.PostFormValue("id"), p.client(r)); err != nil {
		return fmt.Errorf("revoking an app password: %w", err)
	}
	p.finished(w, "app_password_revoked", appPasswordsPath)
	return nil
}

// revokeHeldToken revokes an access token for whoever holds it (RFC 7009 §2). The
// answer doesn't tell whether there was one (§2.2).
func (p *Portal) revokeHeldToken(w http.ResponseWriter, r *http.Request) error {
	if err := p.RevokeToken(r.Context(), r.PostFormValue("token")); err != nil {
		return fmt.Errorf("revoking a token for its holder: %w", err)
	}
	return p.json(w, r, http.StatusOK, struct{}{})
}
