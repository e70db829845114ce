package matrix

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that a driver has started. It does not outlive this one.
type Process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error
	mu     sync.Mutex
	output bytes.Buffer
}

// Start starts a program in a directory, with both outputs going to Log.
func Start(dir, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Write appends to Log.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.output.Len() > 4<<20 {
		p.output.Next(2 << 20)
	}
	return p.output.Write(b)
}

// Log is what the program has written, of late.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Stop asks the program to end, and after five seconds does not ask any more.
func (p *Process) Stop() error {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what is left of the group
	<-p.ended
	return nil
}

// Await polls until something is so, the program has ended, or time is up.
func (p *Process) Await(limit time.Duration, what string, done func() bool) error {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if done() {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s: the program has ended: %v\n%s", what, p.err, tail(p.Log()))
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: waited %s in vain\n%s", what, limit, tail(p.Log()))
		}
	}
}

// AwaitPort waits until something listens on an address.
func (p *Process) AwaitPort(limit time.Duration, address string) error {
	return p.Await(limit, address+" listens", func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

func tail(text string) string { return text[max(0, len(text)-4000):] }

// FreePort is a port of 127.0.0.1 on which nobody listens, for programs that cannot
// pick one by themselves.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Replace reads a file of the repository, such as an example's configuration, and
// replaces texts in it, given in pairs. Each old one has to be there: an example that
// was changed is not run by halves.
func (s *Stage) Replace(file string, pairs ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.Top(), file))
	if err != nil {
		return "", err
	}
	text := string(b)
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return "", fmt.Errorf("%s: holds no %q any more", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text, nil
}
