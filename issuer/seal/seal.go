// Package seal keeps secrets at rest: AES-256-GCM under a key that comes from a
// file or the environment and never from the database that holds what is sealed.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sessiongate/issuer/internal/durable"
)

const (
	keyLen    = 32
	keyPrefix = "sessiongate-sealing-key-1:" // so that no other secret is taken for one
	format    = 1                            // first byte of everything sealed
	idLen     = 8
)

// Errors of Open. They say nothing of the plaintext or the key.
var (
	ErrOtherKey = errors.New("sealed under another sealing key")
	ErrDamaged  = errors.New("sealed data is damaged, or belongs to another issuer, key or purpose")
)

// Context is what a secret belongs to. It is bound to the sealed bytes: they open
// in no other place.
type Context struct{ Issuer, KeyID, Purpose string }

func (c Context) bytes() []byte {
	var b []byte
	for _, s := range []string{c.Issuer, c.KeyID, c.Purpose} { // lengths, so that no two contexts read the same
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// Sealer seals and opens under one key. It is safe for concurrent use.
type Sealer struct {
	aead cipher.AEAD
	id   []byte // tells keys apart without telling the key
}

func newSealer(key []byte) (*Sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("sessiongate sealing key id"), key...))
	return &Sealer{aead: aead, id: sum[:idLen]}, nil
}

// Generate returns a new sealing key in the form that Parse reads.
func Generate() string {
	key := make([]byte, keyLen)
	rand.Read(key) // never fails
	return keyPrefix + base64.RawURLEncoding.EncodeToString(key)
}

// Parse reads a sealing key as Generate writes it; white space around it is fine.
func Parse(text string) (*Sealer, error) {
	enc, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	if !ok {
		return nil, fmt.Errorf("not a sealing key: must begin with %q", keyPrefix)
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(enc)
	if err != nil || len(key) != keyLen {
		return nil, errors.New("not a sealing key: it is cut off or damaged")
	}
	return newSealer(key)
}

// CreateFile makes a new sealing key and writes it to a file of mode 0600, which
// must not exist yet.
func CreateFile(path string) (*Sealer, error) {
	text := Generate()
	if err := durable.Create(path, []byte(text+"\n")); err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return Parse(text)
}

// ReadFile reads a sealing key from a file. A file that anyone but its owner may
// read or write is refused.
func ReadFile(path string) (*Sealer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of the open file: it cannot be swapped in between
	switch {
	case err != nil:
		return nil, fmt.Errorf("sealing key: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("sealing key: %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("sealing key: %s may be read or written by others (mode %#o): chmod it to 0600", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	s, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("sealing key: %s: %w", path, err)
	}
	return s, nil
}

// Seal encrypts a secret for its context.
func (s *Sealer) Seal(c Context, secret []byte) []byte {
	out := make([]byte, 0, 1+idLen+s.aead.NonceSize()+len(secret)+s.aead.Overhead())
	out = append(out, format)
	out = append(out, s.id...)
	nonce := out[len(out) : len(out)+s.aead.NonceSize()]
	rand.Read(nonce)
	out = out[:len(out)+len(nonce)]
	return s.aead.Seal(out, nonce, secret, c.bytes())
}

// Open decrypts what Seal made for the same context.
func (s *Sealer) Open(c Context, sealed []byte) ([]byte, error) {
	head := 1 + idLen + s.aead.NonceSize()
	if len(sealed) < head+s.aead.Overhead() || sealed[0] != format {
		return nil, ErrDamaged
	}
	if !bytes.Equal(sealed[1:1+idLen], s.id) {
		return nil, ErrOtherKey
	}
	secret, err := s.aead.Open(nil, sealed[1+idLen:head], sealed[head:], c.bytes())
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}
