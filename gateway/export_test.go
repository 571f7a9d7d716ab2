package gateway

// Raced says that the race detector is on, and all takes ten times as long.
const Raced = raced
