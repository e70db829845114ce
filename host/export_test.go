package host

import (
	"context"

	"sessiongate/internal/abi"
)

// Call makes any call, as Verify makes its own.
func (h *Host) Call(ctx context.Context, number abi.Call, input string) (string, error) {
	e, w, err := h.take(ctx)
	if err != nil {
		return "", err
	}
	return h.call(ctx, e, w, number, h.now(), input)
}

// Hold takes an instance away until it is released.
func (h *Host) Hold(ctx context.Context) (memory func() int64, release func(), err error) {
	e, w, err := h.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.MemorySize, func() { e.pool.put(w) }, nil
}

// Live is the number of instances.
func (h *Host) Live() int { return h.current.Load().pool.live() }
