package templates

import (
	"maps"
	"time"
)

// accountViews returns a view of every page of an account with every field
// filled.
func accountViews() map[string]any {
	since := time.Date(2025, 6, 19, 11, 52, 45, 0, time.UTC)
	kind := KindTexts{Kind: "totp", URL: "/account/totp", Title: "Authenticator apps", About: "An app shows a code.",
		Add: "Add an authenticator app", AddAbout: "Have your phone at hand.", None: "You don't have one yet.", Help: "/help/totp"}
	happening := Happening{At: since, Text: "Signed in", Where: "Firefox on Linux · 192.0.2.1"}
	others := []Choice{{Standby: true, Kind: "backup_code", Text: "Use a backup code", URL: "/flow/code"}}
	appPassword := OwnAppPassword{ID: "p1", Name: "Calendar", Hosts: []string{"dav.example.com"}, Created: since, Expires: since, LastUsed: since, Ticked: true}
	return map[string]any{
		"account_overview": OverviewView{Frame: frame, Done: "Your password has been changed.", Name: "alice", DisplayName: "Alice Young",
			Email: "alice@example.com", Groups: []string{"admins"}, Since: since, Before: &happening, Recent: []Happening{happening},
			Advice: []Advice{{Text: "You only have one way to sign in.", Action: "Add another", URL: "/account/totp"}, {Text: "Few codes.", Action: "Make new ones",
				URL: "/account/backup-codes", Urgent: true}, {Text: "All is well.", Good: true}},
			Ways: []Way{{Kind: "totp", Name: "Authenticator apps", State: "1 set up", Daily: true, LastUsed: since, URL: "/account/totp"}}},
		"account_kind": KindView{Frame: frame, Done: "Added.", Kind: kind, Total: "2 authenticator apps", CanAdd: true, Items: []Item{
			{ID: "c1", Name: "Work phone", Added: since, LastUsed: since, ProbationUntil: since, Heard: since, Silent: true, Details: "Synced passkey · USB", Icon: "synced_passkey", Picture: "data:image/svg+xml;base64,PHN2Zy8+", Elsewhere: "It's bound to old.example.com."}, {ID: "c2", Name: "Old phone", Added: since, Suspended: true}},
			Announcement: FIDOSignals{Accepted: `{"rpId":"login.example.com"}`, Details: `{"name":"alice"}`}},
		"account_codes": KindView{Frame: frame, Done: "Your new codes work now.", Kind: kind, CanAdd: true,
			Codes: &CodesLeft{Left: "3 of 10 codes are left.", Few: true, Made: since, Used: []time.Time{since}}},
		"account_add":    AddView{Frame: frame, Kind: kind, Host: "wiki.example.com", Request: "r1"},
		"account_rename": RenameView{Frame: frame, Kind: kind, ID: "c1", Name: "Work phone", Typed: "Phone", Error: Message{Field: "name", Text: "Too long."}},
		"account_remove": RemoveView{Frame: frame, Kind: kind, ID: "c1", Name: "Work phone", Suspended: true, Remaining: []string{"Tablet"}},
		"account_remove_all": RemoveAllView{Frame: frame, Kind: kind, Total: "2 authenticator apps", Names: []string{"Work phone", "Old phone"},
			Remaining: []string{"Blue key", "7 backup codes"}},
		"passkey_offer": PasskeyOfferView{Frame: frame, Host: "wiki.example.com", Request: "r1", To: "/account"},
		"account_password": ChangePasswordView{Frame: frame, Name: "alice", MinLength: 8, StrengthAt: "/account/password/strength",
			AppPasswords: []OwnAppPassword{appPassword}, Error: Message{Field: "current", Text: "That password doesn't match."}},
		"account_sign_ons": SignOnsView{Frame: frame, Done: "Signed out there.", Others: true, SignOns: []OwnSignOn{
			{ID: "s1", Here: true, Browser: "Firefox on Linux", Address: "192.0.2.1", Started: since, Seen: since, Until: since, Apps: []string{"wiki.example.com"}},
			{ID: "s2", Browser: "Safari on iOS", Address: "192.0.2.2", Started: since, Seen: since, Until: since}},
			Browsers: []Browser{{ID: "b1", Name: "Firefox on Windows", Here: true, Until: since}}},
		"account_devices": DevicesView{Frame: frame, Done: "Revoked.", Add: "/account/devices/add", Devices: []OwnDevice{
			{ID: "d1", Name: "Laptop", Serial: "0badcafe", Issued: since, Expires: since, Seen: since,
				System: "Linux", Agent: "1.2.0", InFile: true, Replaces: "Old laptop", Suspended: true}, {ID: "d2", Name: "Tablet", Serial: "c0ffee", Issued: since, Expires: since, Withdrawn: true}}},
		"device_confirm": DeviceConfirmView{Frame: frame, Name: "laptop-7", System: "Linux", Address: "192.0.2.1", At: since, User: "alice", UserID: "u1",
			Action: "/account/devices/confirm", Request: "e30", Cancel: "http://127.0.0.1:45678/?error=access_denied"},
		"device_code": DeviceCodeView{Frame: frame, Error: Message{Field: "code", Text: "That code didn't work."}},
		"device_add": AddDeviceView{Frame: frame, Portal: "https://login.example.com", Agents: []AgentFile{{"mfa-agent-linux-amd64", "/agent/mfa-agent-linux-amd64"}},
			Code: "/account/devices/code", Token: "/account/devices/token"},
		"device_token":   DeviceTokenView{Frame: frame, Secret: "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", Until: since},
		"account_revoke": RevokeView{Frame: frame, Device: OwnDevice{ID: "d1", Name: "Laptop", Serial: "0badcafe", Issued: since, Expires: since, Seen: since}},
		"account_app_passwords": AppPasswordsView{Frame: frame, Done: "Revoked.", Passwords: []OwnAppPassword{appPassword, {ID: "p2", Name: "git", Hosts: []string{"git.example.com"},
			Created: since, Expires: since, Suspended: true}}, Apps: []PasswordApp{{Host: "dav.example.com", URL: "/account/app-passwords/add?host=dav.example.com"}}},
		"account_app_password_add":    AddAppPasswordView{Frame: frame, Host: "dav.example.com", Until: since, Typed: "Phone", Error: Message{Field: "name", Text: "Taken."}},
		"account_app_password_made":   MadeAppPasswordView{Frame: frame, Host: "dav.example.com", User: "alice", Secret: "pct_p_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", Until: since},
		"account_app_password_revoke": RevokeAppPasswordView{Frame: frame, Password: appPassword},
		"account_activity":            ActivityView{Frame: frame, Events: []Happening{happening}, Older: "/account/activity?before=7", Later: true},
		"account_disown":              DisownView{Frame: frame, Name: "alice", Devices: "/account/devices", AppPasswords: true},
		"lost": LostView{Frame: frame, MoreTime: moreTime, Flow: "f1", Host: "wiki.example.com", Name: "alice", StartOver: "/sign-in", Kind: "totp",
			Title: "You can't use your authenticator app", Others: others, Items: []Losable{{ID: "c1", Name: "Work phone", Added: since, Ticked: true},
				{ID: "c2", Name: "Tablet", Added: since}}, Back: "/flow?id=f1", Error: Message{Field: "lose", Text: "Tick one."}},
		"access_code": AccessCodeView{Frame: frame, MoreTime: moreTime, Flow: "f1", Host: "wiki.example.com", Name: "alice", StartOver: "/sign-in",
			Others: others, Error: Message{Field: "code", Text: "That code didn't work."}},
		"new_password": NewPasswordView{Frame: frame, MoreTime: moreTime, Flow: "f1", Name: "alice", StartOver: "/sign-in", MinLength: 8,
			StrengthAt: "/flow/password-strength", Error: Message{Field: "password", Text: "Too short."}},
		"help_totp":        HelpView{Frame: frame, Values: map[string]any{"Seconds": 30}, MinLength: 8, Account: "/account"},
		"help_backup_code": HelpView{Frame: frame, Values: map[string]any{"Seconds": 30}, MinLength: 8, Account: "/account"},
		"help_fido":        HelpView{Frame: frame, Values: map[string]any{"Seconds": 30}, MinLength: 8, Account: "/account"},
		"help_password":    HelpView{Frame: frame, Values: map[string]any{"Seconds": 30}, MinLength: 8, Account: "/account"},
	}
}

// withAccount returns views together with those of the account.
func withAccount(views map[string]any) map[string]any {
	maps.Copy(views, accountViews())
	return views
}
