package signer

// Prefix begins every header of the protocol.
const Prefix = "X-Ca-"

// Headers of a request; protocol section 4.1.
const (
	HeaderKey              = Prefix + "Key"
	HeaderSignature        = Prefix + "Signature"
	HeaderSignatureMethod  = Prefix + "Signature-Method"
	HeaderSignatureHeaders = Prefix + "Signature-Headers"
	HeaderTimestamp        = Prefix + "Timestamp"
	HeaderNonce            = Prefix + "Nonce"
	HeaderStage            = Prefix + "Stage"
	HeaderRequestMode      = Prefix + "Request-Mode"
	HeaderVersion          = Prefix + "Version"
	HeaderContentMD5       = "Content-MD5"
	HeaderAuthorization    = "Authorization"
)

// Headers of an answer; protocol section 5. They are written exactly so: some libraries
// compare them with regard to case.
const (
	HeaderRequestID    = Prefix + "Request-Id"
	HeaderErrorCode    = Prefix + "Error-Code"
	HeaderErrorMessage = Prefix + "Error-Message"
	HeaderDebugInfo    = Prefix + "Debug-Info"
	// Ours, beside the protocol's: what the call came to.
	HeaderCharged        = Prefix + "Charged"         // "1" or "0"
	HeaderQuotaRemaining = Prefix + "Quota-Remaining" // calls left after this one
	HeaderQuotaExpires   = Prefix + "Quota-Expires"   // when those of the present package end
)

// Headers with which the gateway signs what it forwards to a seller; see ForwardSignature.
const (
	HeaderProxySignature        = Prefix + "Proxy-Signature"
	HeaderProxySignatureHeaders = Prefix + "Proxy-Signature-Headers"
	HeaderProxySignatureKey     = Prefix + "Proxy-Signature-Secret-Key" // the name of the key, not the key
	HeaderProxyTimestamp        = Prefix + "Proxy-Timestamp"            // milliseconds since 1970
)

// Signature methods.
const (
	HmacSHA256 = "HmacSHA256"
	HmacSHA1   = "HmacSHA1"
)

// The names as bytes, made once so that looking one up allocates nothing.
var (
	nameKey              = []byte(HeaderKey)
	nameSignature        = []byte(HeaderSignature)
	nameSignatureMethod  = []byte(HeaderSignatureMethod)
	nameSignatureHeaders = []byte(HeaderSignatureHeaders)
	nameTimestamp        = []byte(HeaderTimestamp)
	nameNonce            = []byte(HeaderNonce)
	nameContentMD5       = []byte(HeaderContentMD5)
	nameProxyHeaders     = []byte(HeaderProxySignatureHeaders)
	nameAccept           = []byte("Accept")
	nameContentType      = []byte("Content-Type")
	nameDate             = []byte("Date")
)

// unsigned lists the headers that are never in the header block, even if the list of
// signed headers names them: two describe the signature, four have lines of their own.
var unsigned = [][]byte{
	nameSignature, nameSignatureHeaders, nameAccept, nameContentMD5, nameContentType, nameDate,
}
