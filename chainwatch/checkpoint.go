package chainwatch

import (
	"errors"

	"github.com/metaim/metaim/improtocol/frame"
)

// ErrCheckpoint says that a header contradicts a block that is known to be on the
// chain.
var ErrCheckpoint = errors.New("the header contradicts a checkpoint of the network")

// Blocks that every branch must hold that is long enough: they keep a source from
// feeding us a chain of its own from an early block on, where work was cheap. They
// are those of bsvd, a full node: among them 478558, the last block that is shared
// with BTC, and 556767, the first that isn't shared with BCH. 705985 is the block
// of mainnet that the tests read.
var mainCheckpoints = checkpoints(
	checkpoint{11111, "0000000069e244f73d78e8fd29ba2fd2ed618bd6fa2ee92559f542fdb26e7c1d"},
	checkpoint{33333, "000000002dd5588a74784eaa7ab0507a18ad16a236e7b1ce69f00d7ddfb5d0a6"},
	checkpoint{74000, "0000000000573993a3c9e41ce34471c079dcf5f52a0e824a81e7f953b8661a20"},
	checkpoint{105000, "00000000000291ce28027faea320c8d2b054b2e0fe44a773f3eefb151d6bdc97"},
	checkpoint{134444, "00000000000005b12ffd4cd315cd34ffd4a594f430ac814c91184a0d42d2b0fe"},
	checkpoint{168000, "000000000000099e61ea72015e79632f216fe6cb33d7899acb35b75c8303b763"},
	checkpoint{193000, "000000000000059f452a5f7340de6682a977387c17010ff6e6c3bd83ca8b1317"},
	checkpoint{210000, "000000000000048b95347e83192f69cf0366076336c639f9b7228e9ba171342e"},
	checkpoint{216116, "00000000000001b4f4b433e81ee46494af945cf96014816a4e2370f11b23df4e"},
	checkpoint{225430, "00000000000001c108384350f74090433e7fcf79a606b8e797f065b130575932"},
	checkpoint{250000, "000000000000003887df1f29024b06fc2200b55f8af8f35453d7be294df2d214"},
	checkpoint{267300, "000000000000000a83fbd660e918f218bf37edd92b748ad940483c7c116179ac"},
	checkpoint{279000, "0000000000000001ae8c72a0b0c301f67e3afca10e819efa9041e458e9bd7e40"},
	checkpoint{300255, "0000000000000000162804527c6e9b9f0563a280525f9d08c12041def0a0f3b2"},
	checkpoint{319400, "000000000000000021c6052e9becade189495d1c539aa37c58917305fd15f13b"},
	checkpoint{343185, "0000000000000000072b8bf361d01a6ba7d445dd024203fafc78768ed4368554"},
	checkpoint{352940, "000000000000000010755df42dba556bb72be6a32f3ce0b6941ce4430152c9ff"},
	checkpoint{382320, "00000000000000000a8dc6ed5b133d0eb2fd6af56203e4159789b092defd8ab2"},
	checkpoint{400000, "000000000000000004ec466ce4732fe6f1ed1cddc2ed4b328fff5224276e3f6f"},
	checkpoint{430000, "000000000000000001868b2bb3a285f3cc6b33ea234eb70facf4dcdf22186b87"},
	checkpoint{470000, "0000000000000000006c539c722e280a0769abd510af0073430159d71e6d7589"},
	checkpoint{478558, "0000000000000000011865af4122fe3b144e2cbeea86142e8ff2fb4107352d43"},
	checkpoint{510000, "00000000000000000367922b6457e21d591ef86b360d78a598b14c2f1f6b0e04"},
	checkpoint{552979, "0000000000000000015648768ac1b788a83187d706f858919fcc5c096b76fbf2"},
	checkpoint{556767, "000000000000000001d956714215d96ffc00e0afda4cd0a96c96f8d802b1662b"},
	checkpoint{705985, "000000000000000004157b868ef6d0f6eab38e3fd7d66543bebe7b11afafbcec"},
)

var testCheckpoints = checkpoints(
	checkpoint{546, "000000002a936ca763904c3c35fce2f3556c559c0214345d31b1bcebf76acb70"},
	checkpoint{100000, "00000000009e2958c15ff9290d571bf9459e93b19765c6801ddeccadbb160a1e"},
	checkpoint{200000, "0000000000287bffd321963ef05feab753ebe274e1d78b2fd4e2bfe9ad3aa6f2"},
	checkpoint{300001, "0000000000004829474748f3d1bc8fcf893c88be255e6d7f571c548aff57abf4"},
	checkpoint{400002, "0000000005e2c73b8ecb82ae2dbc2e8274614ebad7172b53528aba7501f5a089"},
	checkpoint{500011, "00000000000929f63977fbac92ff570a9bd9e7715401ee96f2848f7b07750b02"},
	checkpoint{600002, "000000000001f471389afd6ee94dcace5ccc44adc18e8bff402443f034b07240"},
	checkpoint{700000, "000000000000406178b12a4dea3b27e13b3c4fe4510994fd667d7c1e6a3f4dc1"},
	checkpoint{800010, "000000000017ed35296433190b6829db01e657d80631d43f5983fa403bfdb4c1"},
	checkpoint{900000, "0000000000356f8d8924556e765b7a94aaebc6b5c8685dcfa2b1ee8b41acd89b"},
	checkpoint{1000007, "00000000001ccb893d8a1f25b70ad173ce955e5f50124261bbbc50379a612ddf"},
)

type checkpoint struct {
	height int32
	hash   string
}

func checkpoints(list ...checkpoint) map[int32]frame.Hash {
	all := make(map[int32]frame.Hash, len(list))
	for _, c := range list {
		hash, err := frame.ParseHash(c.hash)
		if err != nil {
			panic(err)
		}
		all[c.height] = hash
	}
	return all
}

// contradicts tells whether a block at a height is another one than is known to be
// there.
func (p *Params) contradicts(height int32, hash frame.Hash) bool {
	want, ok := p.Checkpoints[height]
	return ok && hash != want
}
