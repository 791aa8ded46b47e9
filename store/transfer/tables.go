package transfer

// Tables are all tables whose rows are copied, those first that others refer to.
var Tables = []Table{
	{"former_lives", []string{"incarnation"}, []Column{
		{"incarnation", Text},
	}},
	{"users", []string{"id"}, []Column{
		{"id", Text}, {"name", Text}, {"display_name", Text}, {"email", Text}, {"groups", Text}, {"status", Text},
		{"new_password", Boolean}, {"language", Text}, {"zone", Text}, {"created", Number}, {"version", Number},
	}},
	{"credentials", []string{"id"}, []Column{
		{"id", Text}, {"user_id", Text}, {"kind", Text}, {"name", Text}, {"secret", Bytes}, {"state", Text},
		{"created", Number}, {"last_used", Number}, {"last_used_on", Text}, {"held_until", Number},
		{"realm", Text}, {"holder", Text}, {"version", Number},
	}},
	{"sign_ons", []string{"id"}, []Column{
		{"id", Text}, {"user_id", Text}, {"started", Number}, {"expires", Number}, {"idle", Number},
		{"last_seen", Number}, {"ended", Number}, {"end_reason", Text}, {"proofs", Text}, {"portal_session", Text},
		{"address", Text}, {"user_agent", Text}, {"shared", Boolean}, {"version", Number},
	}},
	{"records", []string{"namespace", "key"}, []Column{
		{"namespace", Text}, {"key", Text}, {"owner", Text}, {"value", Bytes}, {"expires", Number},
		{"version", Number},
	}},
	{"attempts", []string{"scope", "key"}, []Column{
		{"scope", Text}, {"key", Text}, {"failures", Number}, {"first", Number}, {"last", Number},
	}},
	{"browsers", []string{"id"}, []Column{
		{"id", Text}, {"user_id", Text}, {"token_hash", Text}, {"user_agent", Text}, {"created", Number},
		{"last_seen", Number}, {"remembered", Number}, {"remembered_for", Text},
	}},
	{"devices", []string{"id"}, []Column{
		{"id", Text}, {"user_id", NullText}, {"name", Text}, {"state", Text}, {"machine", Text}, {"system", Text},
		{"agent", Text}, {"protection", Text}, {"via", Text}, {"replaces", Text}, {"certificate", Text},
		{"issued", Number}, {"expires", Number}, {"revoked", Number}, {"revoke_reason", Text},
		{"last_seen", Number}, {"version", Number},
	}},
	{"device_certificates", []string{"certificate"}, []Column{
		{"certificate", Text}, {"device_id", Text}, {"key", Text}, {"der", Bytes}, {"previous", Text},
		{"serial", Text}, {"issuer", Text}, {"issued", Number}, {"expires", Number},
	}},
	{"barred_certificates", []string{"certificate"}, []Column{
		{"certificate", Text}, {"expires", Number},
	}},
	{"issuers", []string{"fingerprint"}, []Column{
		{"fingerprint", Text}, {"certificate", Bytes}, {"expires", Number},
	}},
	{"former_names", []string{"name", "user_id"}, []Column{
		{"name", Text}, {"user_id", Text}, {"given_up", Number},
	}},
	{"messages", []string{"id"}, []Column{
		{"id", Text}, {"lane", Number}, {"purpose", Text}, {"ref", Text}, {"user_id", NullText}, {"data", Bytes},
		{"queued", Number}, {"due", Number}, {"expires", Number}, {"claimed", Number}, {"attempts", Number},
		{"state", Text}, {"failure", Text}, {"version", Number},
	}},
	{"access_tokens", []string{"id"}, []Column{
		{"id", Text}, {"user_id", NullText}, {"name", Text}, {"selector", Text}, {"hash", Text},
		{"former_hash", Text}, {"former_until", Number}, {"groups", Text}, {"scope", Bytes}, {"owner_id", Text},
		{"unowned", Number}, {"warned", Number}, {"created", Number}, {"expires", Number}, {"revoked", Number},
		{"last_used", Number}, {"networks", Text}, {"suspended", Boolean},
	}},
	{"events", []string{"id"}, []Column{
		{"id", Number}, {"at", Number}, {"name", Text}, {"user_id", Text}, {"fields", Text},
	}},
}
