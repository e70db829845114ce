package host

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sessiongate/internal/abi"
	"sessiongate/internal/engine"
	"sessiongate/internal/keyfetch"
)

// edition is one module with one policy: what Swap puts in force as a whole. Its
// instances share nothing but the snapshot of its keys.
type edition struct {
	host   *Host
	module *module
	policy []byte // the document, for an edition with another module
	input  []byte // encoded abi.Configure, for each new instance
	plan   *plan
	pool   *pool

	// keys is the snapshot that every instance catches up with when it is next
	// taken. Only install and confirm replace it.
	keys      atomic.Pointer[snapshot]
	replacing sync.Mutex

	keepers []*keeper              // by issuer; nil where there is nothing to fetch
	files   map[string]os.FileInfo // secret files as they were before they were read
	stop    context.CancelFunc
	running sync.WaitGroup
}

// module is compiled code that editions share; the last one frees it.
type module struct {
	*engine.Module
	users atomic.Int32
}

func (m *module) release() {
	if m.users.Add(-1) == 0 {
		m.Close()
	}
}

// snapshot is an immutable set of keys for each issuer, with a generation number.
type snapshot struct {
	generation uint64
	sets       []keySet
}

type keySet struct {
	generation  uint64 // of the snapshot that brought the document; 0: none has arrived
	document    string
	confirmedAt int64
	usable      int
}

// worker is one instance and what it has been told.
type worker struct {
	*engine.Instance
	slot       int
	generation uint64   // of the snapshot it has caught up with
	told       []keySet // by issuer, without documents
	request    abi.Request
	scratch    []byte // for encoding the request
}

// configure asks a fresh instance what a policy wants, reads the files that only
// a host can read, and gives the input that configures every instance alike.
func (e *edition) configure(ctx context.Context, i *engine.Instance) error {
	c := abi.Configure{Kind: e.host.config.Kind, ClockFloor: e.host.floor(), Policy: string(e.policy)}
	status, text, err := i.Call(ctx, abi.CallPlan, 0, c.Append(nil))
	if err != nil {
		return err
	}
	if err := statusError(status, text); err != nil {
		return err
	}
	if e.plan, err = readPlan(text); err != nil {
		return err
	}
	e.files = make(map[string]os.FileInfo)
	var faults []Fault
	for n, s := range e.plan.Issuers {
		if s.Keys != sourceSecret || s.Location == "" {
			continue
		}
		e.files[s.Location], _ = os.Stat(s.Location)
		secret, err := readSecret(s.Location)
		if err != nil {
			faults = append(faults, Fault{Path: "/host/" + c.Kind + "/secret_files/" + escapePointer(s.Issuer), Problem: err.Error()})
			continue
		}
		c.Secrets = append(c.Secrets, abi.Secret{Issuer: uint32(n), Value: secret})
	}
	for n, s := range e.plan.Issuers {
		if s.Keys != sourceURI && s.Keys != sourceDiscovery {
			continue
		}
		if err := keyfetch.CheckURL(s.Location); err != nil {
			faults = append(faults, Fault{Path: fmt.Sprintf("/policy/issuers/%d", n), Problem: err.Error()})
		}
	}
	if faults != nil {
		return &ConfigError{Faults: faults}
	}
	e.input = c.Append(nil)
	return nil
}

// readSecret reads a file that holds a secret in base64url, as the policy's
// "secrets" do. The error does not tell what the file holds.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(strings.TrimSpace(string(b)), "="))
	if err != nil {
		return "", errors.New("file does not hold base64url")
	}
	return string(secret), nil
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// create makes an instance, without any fetched key.
func (e *edition) create() (*worker, error) {
	ctx, cancel := e.host.bound(context.Background(), startTimeout)
	defer cancel()
	i, err := e.module.Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	return e.prepare(ctx, i)
}

// prepare configures an instance. It closes the instance on error.
func (e *edition) prepare(ctx context.Context, i *engine.Instance) (*worker, error) {
	status, text, err := i.Call(ctx, abi.CallConfigure, 0, e.input)
	if err == nil {
		err = statusError(status, text)
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	e.host.metrics.started.Inc()
	return &worker{Instance: i, told: make([]keySet, len(e.plan.Issuers))}, nil
}

// statusError turns a status that is not OK into an error.
func statusError(status abi.Status, text string) error {
	switch status {
	case abi.StatusOK:
		return nil
	case abi.StatusFaults:
		return readFaults(text)
	}
	return fmt.Errorf("guest answers %q", status)
}

// catchUp tells an instance what has changed since it was last used.
func (e *edition) catchUp(ctx context.Context, w *worker, to *snapshot) error {
	for i := range to.sets {
		set, told := &to.sets[i], &w.told[i]
		if told.generation == set.generation && told.confirmedAt == set.confirmedAt {
			continue
		}
		document := set.document
		if told.generation == set.generation {
			document = "" // confirmed anew, no more
		}
		if _, err := w.updateKeys(ctx, i, document, set.confirmedAt); err != nil {
			return err
		}
		told.generation, told.confirmedAt = set.generation, set.confirmedAt
	}
	w.generation = to.generation
	return nil
}

// updateKeys hands an instance a key set, or confirms the one it has, and returns
// how many keys it can use.
func (w *worker) updateKeys(ctx context.Context, issuer int, document string, confirmedAt int64) (usable int, err error) {
	u := abi.UpdateKeys{Issuer: uint32(issuer), ConfirmedAt: confirmedAt, Document: document}
	status, text, err := w.Call(ctx, abi.CallUpdateKeys, 0, u.Append(nil))
	if err != nil {
		return 0, err
	}
	if err := statusError(status, text); err != nil {
		return 0, err
	}
	var v struct {
		Usable int `json:"usable"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return 0, fmt.Errorf("guest's answer about keys: %w", err)
	}
	return v.Usable, nil
}

// take takes an instance that has caught up with the snapshot.
func (e *edition) take(ctx context.Context) (*worker, error) {
	w, err := e.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	if keys := e.keys.Load(); w.generation != keys.generation {
		bounded, cancel := e.host.bound(ctx, startTimeout)
		err := e.catchUp(bounded, w, keys)
		cancel()
		if err != nil {
			e.drop(w, err)
			return nil, err
		}
	}
	return w, nil
}

// drop ends an instance that did not behave.
func (e *edition) drop(w *worker, why error) {
	e.pool.discard(w)
	e.host.metrics.broken.Inc()
	e.host.log.Error("guest instance thrown away", "error", why)
}

// install tries a key set on one instance and, if the guest accepts it, puts it
// in force for all of them. Nobody waits for that: each catches up when it is next taken.
func (e *edition) install(ctx context.Context, issuer int, document []byte, confirmedAt int64) error {
	e.replacing.Lock()
	defer e.replacing.Unlock()
	w, err := e.take(ctx)
	if err != nil {
		return err
	}
	bounded, cancel := e.host.bound(ctx, startTimeout)
	defer cancel()
	usable, err := w.updateKeys(bounded, issuer, string(document), confirmedAt)
	if err != nil {
		if errors.As(err, new(*ConfigError)) || errors.Is(err, engine.ErrInput) {
			e.pool.put(w) // it kept the set it had
		} else {
			e.drop(w, err)
		}
		return err
	}
	next := e.keys.Load().clone()
	next.sets[issuer] = keySet{generation: next.generation, document: string(document), confirmedAt: confirmedAt, usable: usable}
	w.generation = next.generation
	w.told[issuer] = keySet{generation: next.generation, confirmedAt: confirmedAt}
	e.keys.Store(next)
	e.pool.put(w)
	return nil
}

// confirmedAt is when the set in force was last known to be the issuer's.
func (e *edition) confirmedAt(issuer int) int64 { return e.keys.Load().sets[issuer].confirmedAt }

// confirm puts the set in force anew.
func (e *edition) confirm(issuer int, confirmedAt int64) {
	e.replacing.Lock()
	defer e.replacing.Unlock()
	next := e.keys.Load().clone()
	if next.sets[issuer].generation == 0 {
		return
	}
	next.sets[issuer].confirmedAt = confirmedAt
	e.keys.Store(next)
}

func (s *snapshot) clone() *snapshot {
	return &snapshot{generation: s.generation + 1, sets: append([]keySet(nil), s.sets...)}
}

// retire lets calls that run end, and frees what the edition holds once they have.
func (e *edition) retire() {
	e.stop()
	e.running.Wait()
	e.pool.close()
	go func() {
		<-e.pool.drained
		e.module.release()
		e.host.retiring.Done()
	}()
}

const startTimeout = 30 * time.Second // for making or configuring an instance, where guests are interruptible
