"""The parity gate: a bundle against its PyTorch model, without torch.

outputs      PyTorch's outputs, as data; known to both sides
captions     how both sides make captions
collect      runs PyTorch                        imports torch
run          starts the gate                     no torch from here on
gate         opens the bundle, joins what follows into a certificate
compare      figures of every bundle
attention    of `decode_attention`, where there is one
state        of `decode_stateful`, where there is one
tolerances   what is allowed
"""
