package conformance

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var credentialTests = []test{
	{"come back as created", credentialsComeBack},
	{"are not found", credentialsNotFound},
	{"need a user", credentialsNeedUser},
	{"ids are unique", credentialsUnique},
	{"are listed oldest first", credentialsListed},
	{"are counted by realm", credentialsCounted},
	{"update is a compare-and-set", credentialsUpdate},
	{"one of many updates wins", credentialsUpdateRace},
	{"delete is a compare-and-set", credentialsDelete},
}

// anyBytes holds every byte, NUL and invalid UTF-8 included.
func anyBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

func credentialsComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	tests := map[string]store.Credential{
		"full": {
			ID: "c1", UserID: "u1", Kind: assurance.FIDO, Name: awkward, Secret: anyBytes(),
			State: store.CredentialSuspended, Created: noon, LastUsed: noon.Add(time.Microsecond),
			LastUsedOn:     map[string]time.Time{"linux": noon, awkward: noon.Add(time.Microsecond)},
			ProbationUntil: noon.Add(time.Hour), Realm: awkward, Holder: awkward,
		},
		"bare": {ID: "c2", UserID: "u1", Kind: assurance.TOTP, State: store.CredentialActive},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, f.CreateCredential(f.ctx, c))
			c.Version = 1
			wantEqual(t, "credential", get(f.CredentialByID(f.ctx, c.ID))(t), c)
		})
	}
}

func credentialsNotFound(t *testing.T, f fixture) {
	_, err := f.CredentialByID(f.ctx, "c1")
	wantError(t, err, store.ErrNotFound)
	wantError(t, f.UpdateCredential(f.ctx, store.Credential{ID: "c1", Version: 1}), store.ErrNotFound)
	wantError(t, f.DeleteCredential(f.ctx, "c1", 1), store.ErrNotFound)
	wantEqual(t, "of nobody", len(get(f.CredentialsOf(f.ctx, "u1"))(t)), 0)
}

func credentialsNeedUser(t *testing.T, f fixture) {
	err := f.CreateCredential(f.ctx, store.Credential{ID: "c1", UserID: "nobody", Kind: assurance.TOTP})
	wantError(t, err, store.ErrNotFound)
	_, err = f.CredentialByID(f.ctx, "c1")
	wantError(t, err, store.ErrNotFound)
}

func credentialsUnique(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	kept := f.addCredential(t, "u1", "c1")
	err := f.CreateCredential(f.ctx, store.Credential{ID: "c1", UserID: "u2", Kind: assurance.FIDO})
	wantError(t, err, store.ErrConflict)
	wantEqual(t, "credential", get(f.CredentialByID(f.ctx, "c1"))(t), kept)
}

func credentialsListed(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	f.addCredential(t, "u2", "other")
	for id, minutes := range map[string]int{"c1": 30, "c2": 10, "c3": 20} {
		must(t, f.CreateCredential(f.ctx, store.Credential{
			ID: id, UserID: "u1", Kind: assurance.TOTP, State: store.CredentialSuspended,
			Created: noon.Add(time.Duration(minutes) * time.Minute),
		}))
	}
	var ids []string
	for _, c := range get(f.CredentialsOf(f.ctx, "u1"))(t) {
		ids = append(ids, c.ID)
	}
	wantEqual(t, "ids", ids, []string{"c2", "c3", "c1"})
}

func credentialsCounted(t *testing.T, f fixture) {
	wantEqual(t, "of nobody", len(get(f.CountByRealm(f.ctx, assurance.FIDO))(t)), 0)
	for _, c := range []store.Credential{
		{ID: "c1", UserID: "u1", Kind: assurance.FIDO, Realm: "b.example", State: store.CredentialActive},
		{ID: "c2", UserID: "u1", Kind: assurance.FIDO, Realm: "b.example", State: store.CredentialActive},
		{ID: "c3", UserID: "u2", Kind: assurance.FIDO, Realm: "b.example", State: store.CredentialActive},
		{ID: "c4", UserID: "u2", Kind: assurance.FIDO, Realm: "a.example", State: store.CredentialActive},
		{ID: "c5", UserID: "u2", Kind: assurance.FIDO, Realm: "c.example", State: store.CredentialSuspended},
		{ID: "c6", UserID: "u2", Kind: assurance.TOTP, State: store.CredentialActive},
	} {
		if _, err := f.UserByID(f.ctx, c.UserID); err != nil {
			f.addUser(t, c.UserID)
		}
		must(t, f.CreateCredential(f.ctx, c))
	}
	wantEqual(t, "counts", get(f.CountByRealm(f.ctx, assurance.FIDO))(t), []store.RealmCount{
		{Realm: "a.example", Credentials: 1, Users: 1}, {Realm: "b.example", Credentials: 3, Users: 2},
	})
}

func credentialsUpdate(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	old := f.addCredential(t, "u1", "c1")
	changed := store.Credential{
		ID: "c1", UserID: "u2", Kind: assurance.FIDO, Name: "phone", Secret: anyBytes(),
		State: store.CredentialSuspended, Created: noon.AddDate(1, 0, 0), LastUsed: noon.Add(time.Hour),
		LastUsedOn: map[string]time.Time{"ios": noon.Add(time.Hour)}, ProbationUntil: noon.Add(time.Minute), Realm: "elsewhere", Version: 1,
	}
	must(t, f.UpdateCredential(f.ctx, changed))
	wantError(t, f.UpdateCredential(f.ctx, old), store.ErrConflict)
	changed.UserID, changed.Kind, changed.Realm, changed.Created, changed.Version = old.UserID, old.Kind, old.Realm, old.Created, 2
	wantEqual(t, "credential", get(f.CredentialByID(f.ctx, "c1"))(t), changed)
}

func credentialsUpdateRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	c := f.addCredential(t, "u1", "c1")
	failures := race(200, func(i int) error {
		mine := c
		mine.Secret = []byte{byte(i)}
		return f.UpdateCredential(f.ctx, mine)
	})
	wantOneWinner(t, failures, store.ErrConflict)
	stored := get(f.CredentialByID(f.ctx, "c1"))(t)
	wantEqual(t, "version", stored.Version, int64(2))
	for i, err := range failures {
		if err == nil {
			wantEqual(t, "the winner's secret", stored.Secret, []byte{byte(i)})
		}
	}
}

func credentialsDelete(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	c := f.addCredential(t, "u1", "c1")
	must(t, f.UpdateCredential(f.ctx, c))
	wantError(t, f.DeleteCredential(f.ctx, "c1", 1), store.ErrConflict)
	get(f.CredentialByID(f.ctx, "c1"))(t)
	wantOneWinner(t, race(20, func(int) error { return f.DeleteCredential(f.ctx, "c1", 2) }), store.ErrNotFound)
	_, err := f.CredentialByID(f.ctx, "c1")
	wantError(t, err, store.ErrNotFound)
}
