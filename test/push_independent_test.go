package test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/phone"
	"github.com/portcullis-mfa/portcullis/test/pushservice"
)

// received is a notification as another implementation reads it.
type received struct {
	Content struct {
		WebPush      int `json:"web_push"`
		Notification struct{ Title, Body, Navigate string }
		Mutable      bool
	}
	Claims struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}
	Key string
}

// expectReadByOthers sends a software phone a notification, which others' programs read.
func (s *pushSuite) expectReadByOthers(t *testing.T, service *pushservice.Service) {
	t.Helper()
	harness.Need(t, "node", "npm")
	service.Answer(http.StatusCreated)
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 16)
	rand.Read(secret) // never fails
	device := pairPhone(t, s.Scene, s.ada)
	expectStatus(t, http.StatusOK)(device.Send(t.Context(), "subscribe", phone.Claims{"subscription": map[string]string{
		"endpoint": "https://" + pushservice.Host + "/software",
		"p256dh":   base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
		"auth":     base64.RawURLEncoding.EncodeToString(secret),
	}}))
	s.pend(t)
	var sent pushservice.Sent
	harness.Eventually(t, time.Minute, "the notification", func() bool {
		all := service.Sent()
		sent = all[len(all)-1]
		return sent.Path == "/software"
	})
	got := readByOthers(t, sent, key, secret)
	request := openRequest(t, device)
	if n := got.Content.Notification; got.Content.WebPush != 8030 || !got.Content.Mutable || n.Title != "Did you just sign in?" ||
		!strings.Contains(n.Body, "app.localhost") || n.Navigate != s.At("phone", "/#r="+request.ID) {
		t.Errorf("the notification says %+v", got.Content)
	}
	left := time.Until(time.Unix(got.Claims.Expires, 0))
	if got.Claims.Audience != "https://"+pushservice.Host || left <= 0 || left > 24*time.Hour || got.Claims.Subject != strings.TrimSuffix(s.At("login", "/"), "/") {
		t.Errorf("the token says %+v", got.Claims)
	}
	nonce, err := device.Post(t.Context(), "nonce", nil)
	if err != nil || nonce.Says("vapid") != got.Key {
		t.Errorf("it is signed with %s, and phones subscribe with %v, %v", got.Key, nonce.Body, err)
	}
	if seconds, err := strconv.Atoi(sent.Header.Get("Ttl")); err != nil || seconds <= 0 || seconds > 120 {
		t.Errorf("it is kept for %q seconds", sent.Header.Get("Ttl"))
	}
}

// readByOthers decrypts a notification with http_ece, and checks its sender with Node.
func readByOthers(t *testing.T, sent pushservice.Sent, key *ecdh.PrivateKey, secret []byte) (got received) {
	t.Helper()
	packages, err := installedPackages()
	if err != nil {
		t.Fatal(err)
	}
	given, err := json.Marshal(map[string]string{
		"body": base64.RawURLEncoding.EncodeToString(sent.Body), "key": base64.RawURLEncoding.EncodeToString(key.Bytes()),
		"secret": base64.RawURLEncoding.EncodeToString(secret), "authorization": sent.Header.Get("Authorization"),
	})
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "pushservice/testdata/receive.js")
	node.Env = append(os.Environ(), "NODE_PATH="+packages)
	node.Stdin = bytes.NewReader(given)
	output, err := node.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(output, &got)
	}
	if err != nil {
		t.Fatalf("reading the notification: %v\n%s", err, output)
	}
	return got
}
