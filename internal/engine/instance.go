package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"sessiongate/internal/abi"
)

// ErrBroken means that an instance trapped, exited, was interrupted or answered
// nonsense. It is of no further use.
var ErrBroken = errors.New("guest instance is broken")

// ErrInput means that an input is longer than a guest takes.
var ErrInput = fmt.Errorf("input is over %d bytes", abi.MaxInput)

// Instance is one guest with its memory. It takes one call at a time.
type Instance struct {
	module        api.Module
	memory        api.Memory
	buffer, call  api.Function
	interruptible bool
	input         uint32 // address of the input buffer
	room          uint32 // its length
	stack         [3]uint64
	stderr        head
}

// Call makes one call at the time now, in Unix milliseconds, and returns the
// status and a copy of what follows it. The context matters to an interruptible
// instance alone. An error that matches ErrBroken leaves the instance good for Close only.
func (i *Instance) Call(ctx context.Context, number abi.Call, now int64, input []byte) (abi.Status, string, error) {
	if err := i.reserve(ctx, len(input)); err != nil {
		return 0, "", err
	}
	if !i.memory.Write(i.input, input) {
		return 0, "", fmt.Errorf("%w: input buffer lies outside its memory", ErrBroken)
	}
	return i.run(ctx, number, now, len(input))
}

// CallString is Call with an input that is a string already.
func (i *Instance) CallString(ctx context.Context, number abi.Call, now int64, input string) (abi.Status, string, error) {
	if err := i.reserve(ctx, len(input)); err != nil {
		return 0, "", err
	}
	if !i.memory.WriteString(i.input, input) {
		return 0, "", fmt.Errorf("%w: input buffer lies outside its memory", ErrBroken)
	}
	return i.run(ctx, number, now, len(input))
}

func (i *Instance) reserve(ctx context.Context, n int) error {
	if n > abi.MaxInput {
		return ErrInput
	}
	if uint32(n) <= i.room && i.room != 0 {
		return nil
	}
	size := max(uint32(n), 4096)
	i.stack[0] = uint64(size)
	if err := i.enter(ctx, i.buffer); err != nil {
		return err
	}
	if i.input = uint32(i.stack[0]); i.input == 0 {
		return fmt.Errorf("%w: it gives no input buffer", ErrBroken)
	}
	i.room = size
	return nil
}

func (i *Instance) run(ctx context.Context, number abi.Call, now int64, length int) (abi.Status, string, error) {
	i.stack = [3]uint64{uint64(number), uint64(length), uint64(now)}
	if err := i.enter(ctx, i.call); err != nil {
		return 0, "", err
	}
	packed := i.stack[0]
	out, ok := i.memory.Read(uint32(packed>>32), uint32(packed))
	if !ok || len(out) == 0 {
		return 0, "", fmt.Errorf("%w: its output lies outside its memory", ErrBroken)
	}
	status := abi.Status(out[0])
	if status == abi.StatusBroken {
		return status, "", ErrBroken
	}
	return status, string(out[1:]), nil
}

func (i *Instance) enter(ctx context.Context, f api.Function) error {
	if !i.interruptible {
		ctx = context.Background() // a context that nobody heeds is not worth carrying along
	}
	if err := f.CallWithStack(ctx, i.stack[:]); err != nil {
		return fmt.Errorf("%w: %s", ErrBroken, i.explain(err))
	}
	return nil
}

// MemorySize is the size of the instance's memory in bytes.
func (i *Instance) MemorySize() int64 { return int64(i.memory.Size()) }

// Close frees the instance.
func (i *Instance) Close() { i.module.Close(context.Background()) }

// explain makes one line of a trap: the first line of the error, and the first
// one that the guest wrote, if it wrote anything. A stack trace is left out.
func (i *Instance) explain(err error) string {
	var exit *sys.ExitError
	text, _, _ := strings.Cut(err.Error(), "\n")
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case sys.ExitCodeContextCanceled, sys.ExitCodeDeadlineExceeded:
			return "it was interrupted"
		}
		text = fmt.Sprintf("it exited with status %d", exit.ExitCode())
	}
	if line := i.stderr.firstLine(); line != "" {
		text += ": " + line
	}
	return text
}

// head keeps the beginning of what a guest writes to its standard error.
type head struct{ kept []byte }

const mostKept = 256

func (h *head) Write(p []byte) (int, error) {
	if room := mostKept - len(h.kept); room > 0 {
		h.kept = append(h.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *head) firstLine() string {
	line, _, _ := bytes.Cut(h.kept, []byte("\n"))
	return strings.ToValidUTF8(string(line), "�")
}
