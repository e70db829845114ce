// Command sessiongate checks short-lived session tokens at the edge, and runs the
// small issuer that mints them. Standard output is data; errors and hints go to
// standard error. The exit status is 0 for done or accepted, 1 for refused, 2 for
// wrong usage, 3 for anything that kept it from its work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for a drain
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
	exitFailed  = 3
)

// App is what every command is given.
type App struct {
	Context context.Context // ends at SIGINT or SIGTERM
	Stdin   io.Reader
	Stdout  io.Writer // data
	Stderr  io.Writer // logs, progress, errors
	JSON    bool      // data as JSON
	Quiet   bool      // no progress
	Logger  *slog.Logger
	module  string // --module
}

// cli is the command line.
type cli struct {
	JSON    bool        `help:"Print data as JSON." env:"SESSIONGATE_JSON"`
	Quiet   bool        `short:"q" help:"Log errors only." env:"SESSIONGATE_QUIET"`
	Module  string      `help:"Guest module to run instead of the one inside this command." placeholder:"FILE" env:"SESSIONGATE_MODULE"`
	Version versionFlag `help:"Print the version and exit."`

	Demo    DemoCmd    `cmd:"" help:"Show the main job, from a minted token to a refused one, in half a minute."`
	Issuer  IssuerCmd  `cmd:"" help:"Mint session tokens, publish the keys and rotate them."`
	Gateway GatewayCmd `cmd:"" help:"Run a reverse proxy that checks every request."`
	Authz   AuthzCmd   `cmd:"" help:"Answer the authorization requests of nginx, HAProxy, Caddy, Traefik and Envoy."`
	Sync    SyncCmd    `cmd:"" help:"Fetch keys into files, for hosts that cannot fetch."`
	Verify  VerifyCmd  `cmd:"" help:"Verify one token; status 0 accepts it, 1 refuses it."`
	Explain ExplainCmd `cmd:"" help:"Tell every check of one token, passed or failed."`
	Keys    KeysCmd    `cmd:"" help:"List, rotate and withdraw the keys of a running issuer."`
	Policy  PolicyCmd  `cmd:"" help:"Check a policy, or print its JSON Schema."`
	Modules ModuleCmd  `cmd:"" name:"module" help:"Write the WebAssembly guests inside this command to files."`
}

const description = `Checks short-lived session tokens at the edge, inside the proxy you already run,
from one WebAssembly core and with no network call on the request path.

Every flag has an environment variable, named in brackets. Standard output is data;
the exit status is 0 for done or accepted, 1 for refused, 2 for wrong usage and 3
for anything that kept the command from its work.`

// run is main without the process: arguments and streams in, exit status out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("sessiongate"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Vars{"cache_dir": defaultCacheDir()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 96}),
		kong.Exit(func(code int) { panic(exitNow(code)) }),
	)
	if err != nil {
		panic(err) // the command line's own description is wrong: a test runs it
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exitNow:
			status = int(r)
		default:
			panic(r)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return report(stderr, usage(err))
	}
	level := slog.LevelInfo
	if c.Quiet {
		level = slog.LevelError
	}
	app := &App{Context: ctx, Stdin: stdin, Stdout: stdout, Stderr: stderr, JSON: c.JSON, Quiet: c.Quiet, module: c.Module,
		Logger: newLogger(stderr, level)}
	return report(stderr, k.Run(app))
}

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// exitNow carries the status of --help and --version out of the parser.
type exitNow int

// failure is an error with the exit status and the hint that go with it.
type failure struct {
	err    error
	status int
	hint   string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is an error of whoever typed the command.
func usage(err error) error {
	return &failure{err, exitUsage, "sessiongate --help lists the commands, sessiongate COMMAND --help their flags"}
}

// refused is a verdict: the token or the policy was looked at and is not accepted.
func refused(err error, hint string) error { return &failure{err, exitRefused, hint} }

// failed is anything else that kept the command from its work.
func failed(err error, hint string) error { return &failure{err, exitFailed, hint} }

// report writes an error the way every command does and returns its exit status.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	status, hint := exitFailed, ""
	if f := (*failure)(nil); errors.As(err, &f) {
		status, hint = f.status, f.hint
	}
	fmt.Fprintf(stderr, "sessiongate: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	if hint != "" {
		fmt.Fprintf(stderr, "sessiongate: hint: %s\n", hint)
	}
	return status
}
