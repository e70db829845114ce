package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sessiongate/host/hosttest"
)

// TestScripts runs testdata/script. Beside testscript's own commands there are:
//
//	exits STATUS COMMAND…     run a command that ends with this status
//	mint FILE [CLAIMS]        write a token, with claims (JSON) replaced
//	policy FILE [MEMBERS [HOST]]  write a policy for such tokens, with members (JSON) replaced; with HOST,
//	                          its "host", keys come from the issuer
//	keyset FILE               write the issuer's key set
//	fill FILE BYTES           write a file of so many bytes "a"
//	upstream                  start one that echoes; $UPSTREAM is its URL
//	serve NAME COMMAND…       start a server with --json; $NAME and $NAME_ADMIN are its URLs
//	signal NAME SIGNAL        send HUP or TERM
//	ended NAME STATUS         wait for its end; stdout and stderr are then its own
//	logged NAME TEXT          wait until its stderr holds a text
//	http STATUS METHOD URL [NAME: VALUE…]   make a request; stdout is header and body
//	field NAME MEMBER         put a member of the JSON on stdout into a variable
func TestScripts(t *testing.T) {
	needGuest(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"SESSIONGATE_MODULE", "SESSIONGATE_CACHE_DIR"} {
				env.Setenv(name, os.Getenv(name))
			}
			issuer := hosttest.NewIssuer(t)
			env.Setenv("ISSUER", issuer.URL())
			env.Values["script"] = &script{t: t, issuer: issuer, servers: map[string]*served{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "mint": cmdMint, "policy": cmdPolicy, "keyset": cmdKeySet, "fill": cmdFill, "upstream": cmdUpstream,
			"serve": cmdServe, "signal": cmdSignal, "ended": cmdEnded, "logged": cmdLogged, "http": cmdHTTP, "field": cmdField,
		},
	})
}

type script struct {
	t       *testing.T
	issuer  *hosttest.Issuer
	servers map[string]*served
}

type served struct {
	cmd    *exec.Cmd
	first  string
	rest   bytes.Buffer // of stdout
	stderr lockedBuffer
	ended  chan struct{}
}

func of(ts *testscript.TestScript) *script { return ts.Value("script").(*script) }

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits STATUS COMMAND…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

func members(ts *testscript.TestScript, args []string) object {
	if len(args) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(args[0]))
	d.UseNumber()
	var m object
	ts.Check(d.Decode(&m))
	return m
}

func cmdMint(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1 || len(args) == 2, "mint FILE [CLAIMS]")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(of(ts).issuer.Mint(members(ts, args[1:]))+"\n"), 0o600))
}

func cmdPolicy(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 1 && len(args) <= 3, "policy FILE [MEMBERS [HOST]]")
	s := of(ts)
	text := policyFor(s.t, s.issuer, members(ts, args[1:min(len(args), 2)]))
	if len(args) == 3 { // keys from jwks_uri
		doc := members(ts, []string{string(s.issuer.Policy())})
		maps.Copy(doc["policy"].(map[string]any), members(ts, args[1:2]))
		doc["host"] = members(ts, args[2:])
		var err error
		text, err = json.Marshal(doc)
		ts.Check(err)
	}
	ts.Check(replaceFile(ts.MkAbs(args[0]), text))
}

func cmdKeySet(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "keyset FILE")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), of(ts).issuer.KeySet(), 0o600))
}

func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "fill FILE BYTES")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("a"), n), 0o600))
}

func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "upstream")
	up := httptest.NewServer(http.HandlerFunc(echo))
	ts.Defer(up.Close)
	ts.Setenv("UPSTREAM", up.URL)
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "serve NAME COMMAND…")
	s := &served{ended: make(chan struct{})}
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	s.cmd = exec.Command(path, append([]string{"--json"}, args[2:]...)...)
	s.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SESSIONGATE_MODULE", "SESSIONGATE_CACHE_DIR"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { _ = s.cmd.Process.Kill(); <-s.ended })
	r := bufio.NewReader(out)
	s.first, err = r.ReadString('\n')
	go func() {
		_, _ = io.Copy(&s.rest, r)
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	if err != nil {
		<-s.ended
		ts.Fatalf("%s does not start: status %d\n%s", args[1], s.cmd.ProcessState.ExitCode(), &s.stderr)
	}
	var a addresses
	ts.Check(json.Unmarshal([]byte(s.first), &a))
	ts.Setenv(args[0], a.URL)
	ts.Setenv(args[0]+"_ADMIN", a.AdminURL)
	ts.Setenv(args[0]+"_LISTEN", a.Listen)
	of(ts).servers[args[0]] = s
}

// lookPath finds a command in the script's PATH, not in the test's.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not found", name)
}

func serverNamed(ts *testscript.TestScript, name string) *served {
	s := of(ts).servers[name]
	if s == nil {
		ts.Fatalf("no server %s", name)
	}
	return s
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "signal NAME SIGNAL")
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	ts.Check(serverNamed(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "ended NAME STATUS")
	s := serverNamed(ts, args[0])
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		ts.Fatalf("%s does not end\n%s", args[0], &s.stderr)
	}
	fmt.Fprint(ts.Stdout(), s.first, s.rest.String())
	fmt.Fprint(ts.Stderr(), s.stderr.String())
	if got := strconv.Itoa(s.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("status %s, want %s", got, args[1])
	}
}

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "logged NAME TEXT")
	s := serverNamed(ts, args[0])
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(s.stderr.String(), args[1]) {
			return
		}
	}
	ts.Fatalf("%q is not logged\n%s", args[1], &s.stderr)
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 3, "http STATUS METHOD URL [NAME: VALUE…]")
	req, err := http.NewRequest(args[1], args[2], nil)
	ts.Check(err)
	for _, field := range args[3:] {
		name, value, _ := strings.Cut(field, ": ")
		if file, ok := strings.CutPrefix(value, "Bearer @"); ok {
			value = "Bearer " + strings.TrimSpace(ts.ReadFile(file))
		}
		req.Header.Add(name, value)
	}
	// A reload or a readiness takes a moment: the status has some to come.
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if got := strconv.Itoa(resp.StatusCode); got != args[0] {
			if time.Now().Before(end) {
				continue
			}
			ts.Fatalf("status %s, want %s\n%s", got, args[0], body)
		}
		_ = resp.Header.Write(ts.Stdout())
		fmt.Fprintf(ts.Stdout(), "\n%s\n", body)
		return
	}
}

func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "field NAME MEMBER")
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for part := range strings.SplitSeq(args[1], ".") {
		switch in := v.(type) {
		case object:
			v = in[part]
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n >= len(in) {
				ts.Fatalf("no element %s", part)
			}
			v = in[n]
		}
	}
	s, ok := v.(string)
	if !ok {
		ts.Fatalf("no text %s on stdout", args[1])
	}
	ts.Setenv(args[0], s)
}
