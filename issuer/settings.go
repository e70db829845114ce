package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sessiongate/issuer/internal/strictjson"
	"sessiongate/issuer/keyring"
)

// Fault is one thing that is wrong with a request or with issuer.json: its field
// and what would be accepted. Faults is all of them.
type (
	Fault  = strictjson.Fault
	Faults = strictjson.Faults
)

// Settings is what stands in issuer.json. All times are whole seconds.
type Settings struct {
	// Issuer is the iss of every token, exactly: an https URL, or http to loopback.
	// Private keys are sealed for it, so it cannot be changed later.
	Issuer string `json:"issuer"`
	// PublicURL is where verifiers reach the public listener; jwks_uri is made of
	// it. Empty: Issuer, or the listener's own address where Issuer is loopback.
	PublicURL string `json:"public_url"`
	// Algorithms are those that the issuer holds keys of: ES256, EdDSA, RS256. The
	// first signs where nothing else is asked for.
	Algorithms []string `json:"algorithms"`

	// TokenTTL is a token's lifetime where the request does not say; at most
	// MaxTokenLifetime.
	TokenTTL int64 `json:"token_ttl"`
	// SessionTTL is a session's lifetime where the request does not say.
	SessionTTL int64 `json:"session_ttl"`
	// MaxTokenLifetime caps every token. The contract below rests on it.
	MaxTokenLifetime int64 `json:"max_token_lifetime"`

	// CacheAge is the longest time for which a verifier uses a key set after the
	// issuer made it, all caches on the way together; the key set's max-age is half
	// of it.
	CacheAge int64 `json:"cache_age"`
	// Skew is how far apart clocks may be, leeway included: 0 to 300.
	Skew int64 `json:"skew"`
	// RotateEvery is how long a key signs; 0: keys rotate by hand only.
	RotateEvery int64 `json:"rotate_every"`
	// Announce is how long a key is published before it signs. 0: the least there
	// may be, which is CacheAge.
	Announce int64 `json:"announce"`
	// Retire is how long a key is published after it signed last. 0: the least
	// there may be, which is MaxTokenLifetime + Skew + CacheAge.
	Retire int64 `json:"retire"`

	// Audience is the aud of tokens where the request does not say.
	Audience []string `json:"audience"`
	// ClientID is client_id and azp where neither session nor request say.
	ClientID string `json:"client_id"`
	// CookieName is the session cookie's name.
	CookieName string `json:"cookie_name"`

	// SealingKeyFile is the file of the sealing key; a relative path starts at the
	// data directory. SealingKeyEnv names an environment variable to take it from
	// instead. One of the two is set.
	SealingKeyFile string `json:"sealing_key_file"`
	SealingKeyEnv  string `json:"sealing_key_env"`

	// AdminHosts are the host names, beside loopback ones, under which the admin
	// listener may be called.
	AdminHosts []string `json:"admin_hosts"`
}

// Algorithms that the issuer signs with.
var algorithms = []string{"ES256", "EdDSA", "RS256"}

// DefaultSettings are what init writes: keys rotate every 30 days.
func DefaultSettings() Settings {
	return Settings{
		Issuer:           "http://127.0.0.1:8080",
		Algorithms:       []string{"ES256"},
		TokenTTL:         300,
		SessionTTL:       7 * 86400,
		MaxTokenLifetime: 86400,
		CacheAge:         3600,
		Skew:             60,
		RotateEvery:      30 * 86400,
		Audience:         []string{"sessiongate"},
		ClientID:         "sessiongate",
		CookieName:       "ory_kratos_session",
		SealingKeyFile:   "sealing.key",
	}.withDefaults()
}

func (s Settings) withDefaults() Settings {
	c := s.contract().WithDefaults()
	if s.Announce == 0 {
		s.Announce = int64(c.Announce / time.Second)
	}
	if s.Retire == 0 {
		s.Retire = int64(c.Retire / time.Second)
	}
	if s.Audience == nil {
		s.Audience = []string{}
	}
	if s.AdminHosts == nil {
		s.AdminHosts = []string{}
	}
	return s
}

// contract is the rotation contract of the settings.
func (s Settings) contract() keyring.Contract {
	return keyring.Contract{
		CacheAge: seconds(s.CacheAge), Skew: seconds(s.Skew), MaxTokenLifetime: seconds(s.MaxTokenLifetime),
		Announce: seconds(s.Announce), Retire: seconds(s.Retire), RotateEvery: seconds(s.RotateEvery),
	}
}

// maxSeconds bounds every time in the settings, and is the longest lifetime that a
// verifier's policy can name: ten years. Sums of such times stay in range.
const maxSeconds = 3650 * 86400

func seconds(n int64) time.Duration { return time.Duration(min(max(n, -1), maxSeconds)) * time.Second }

// ParseSettings reads issuer.json strictly. A member that is left out has the
// value of DefaultSettings, announce and retire the least that the others allow.
// The error is a Faults, or names the one thing that is wrong.
func ParseSettings(doc []byte) (Settings, error) {
	s := DefaultSettings()
	s.Announce, s.Retire, s.SealingKeyFile = 0, 0, ""
	if err := strictjson.Decode(doc, &s); err != nil {
		return Settings{}, err
	}
	if s.SealingKeyFile == "" && s.SealingKeyEnv == "" {
		s.SealingKeyFile = DefaultSettings().SealingKeyFile
	}
	s = s.withDefaults()
	if err := s.Validate(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// Validate returns every fault, as Faults.
func (s Settings) Validate() error {
	var f Faults
	checkURL(&f, "issuer", s.Issuer)
	if s.PublicURL != "" {
		checkURL(&f, "public_url", s.PublicURL)
	}
	if len(s.Algorithms) == 0 {
		f.Add("algorithms", "must name at least one of %s", strings.Join(algorithms, ", "))
	}
	for i, a := range s.Algorithms {
		field := fmt.Sprintf("algorithms[%d]", i)
		if !slices.Contains(algorithms, a) {
			f.Add(field, "must be one of %s", strings.Join(algorithms, ", "))
		} else if slices.Index(s.Algorithms, a) < i {
			f.Add(field, "is there twice")
		}
	}
	for _, t := range []struct {
		field string
		value int64
	}{{"token_ttl", s.TokenTTL}, {"session_ttl", s.SessionTTL}, {"max_token_lifetime", s.MaxTokenLifetime}, {"cache_age", s.CacheAge},
		{"rotate_every", s.RotateEvery}, {"announce", s.Announce}, {"retire", s.Retire}} {
		if t.value > maxSeconds {
			f.Add(t.field, "must be at most %d seconds", maxSeconds)
		}
	}
	if s.TokenTTL < 1 || s.TokenTTL > s.MaxTokenLifetime {
		f.Add("token_ttl", "must be 1 to max_token_lifetime (%d), is %d", s.MaxTokenLifetime, s.TokenTTL)
	}
	if s.SessionTTL < 1 {
		f.Add("session_ttl", "must be at least 1")
	}
	if err := s.contract().Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") { // "field: problem"
			field, problem, _ := strings.Cut(line, ": ")
			f.Add(field, "%s", problem)
		}
	}
	if len(s.Audience) == 0 {
		f.Add("audience", "must name at least one audience")
	}
	checkTexts(&f, "audience", s.Audience)
	checkText(&f, "client_id", s.ClientID, true)
	if !isToken(s.CookieName) {
		f.Add("cookie_name", "must be a cookie name of letters, digits and -_.")
	}
	switch {
	case s.SealingKeyFile == "" && s.SealingKeyEnv == "":
		f.Add("sealing_key_file", "must name the file of the sealing key, or sealing_key_env a variable")
	case s.SealingKeyFile != "" && s.SealingKeyEnv != "":
		f.Add("sealing_key_env", "must be empty when sealing_key_file is set")
	}
	checkTexts(&f, "admin_hosts", s.AdminHosts)
	for i, h := range s.AdminHosts {
		if strings.ContainsAny(h, "/:@") && net.ParseIP(h) == nil {
			f.Add(fmt.Sprintf("admin_hosts[%d]", i), "must be a host name or an address without scheme and port")
		}
	}
	return f.Err()
}

func checkURL(f *Faults, field, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		f.Add(field, "must be a URL such as https://issuer.example")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(text, "?#"):
		f.Add(field, "must have no user, query or fragment")
	case strings.HasSuffix(text, "/"):
		f.Add(field, "must not end in /")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		f.Add(field, "must be https, or http to loopback")
	case len(text) > 512:
		f.Add(field, "must have at most 512 bytes")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// maxText and maxList bound what ends up in a token, so that it stays under the
// 16 KiB that verifiers accept.
const (
	maxText = 255
	maxList = 200
)

func checkText(f *Faults, field, s string, required bool) {
	switch {
	case s == "" && required:
		f.Add(field, "must not be empty")
	case len(s) > maxText:
		f.Add(field, "must have at most %d bytes", maxText)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		f.Add(field, "must have no control characters")
	}
}

func checkTexts(f *Faults, field string, list []string) {
	if len(list) > maxList {
		f.Add(field, "must have at most %d entries", maxList)
		return
	}
	for i, s := range list {
		checkText(f, fmt.Sprintf("%s[%d]", field, i), s, true)
	}
}

const maxSettings = 64 << 10

// ReadSettings reads issuer.json. Its errors name the file and the fields.
func ReadSettings(path string) (Settings, error) {
	file, err := os.Open(path)
	if err != nil {
		return Settings{}, err
	}
	defer file.Close()
	doc, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err == nil && len(doc) > maxSettings {
		err = errors.New("is over 64 KiB")
	}
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", path, err)
	}
	s, err := ParseSettings(doc)
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s Settings) document() []byte {
	doc, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings and numbers
	}
	return append(doc, '\n')
}
