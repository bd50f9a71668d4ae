/* litert_abi.c: see litert_abi.h. */
#include "litert_abi.h"

edgecap_status ec_litert_find(ec_litert *lib, edgecap_error *error)
{
    void (*marker)(void);
    ec_symbol symbols[] = {
        {"LiteRtCreateModelFromFd", &marker}, /* since 2.1.6 */
        {"LiteRtCreateEnvironment", &lib->create_environment},
        {"LiteRtDestroyEnvironment", &lib->destroy_environment},
        {"LiteRtCreateModelFromFile", &lib->create_model},
        {"LiteRtCreateModelFromBuffer", &lib->create_model_from_buffer},
        {"LiteRtDestroyModel", &lib->destroy_model},
        {"LiteRtCreateOptions", &lib->create_options},
        {"LiteRtDestroyOptions", &lib->destroy_options},
        {"LiteRtSetOptionsHardwareAccelerators", &lib->set_accelerators},
        {"LiteRtCreateOpaqueOptions", &lib->create_opaque},
        {"LiteRtAddOpaqueOptions", &lib->add_opaque},
        {"LiteRtCreateCompiledModel", &lib->create_compiled},
        {"LiteRtDestroyCompiledModel", &lib->destroy_compiled},
        {"LiteRtGetNumModelSignatures", &lib->signature_count},
        {"LiteRtGetModelSignature", &lib->signature},
        {"LiteRtGetSignatureKey", &lib->signature_key},
        {"LiteRtGetNumSignatureInputs", &lib->input_count},
        {"LiteRtGetNumSignatureOutputs", &lib->output_count},
        {"LiteRtGetSignatureInputName", &lib->input_name},
        {"LiteRtGetSignatureOutputName", &lib->output_name},
        {"LiteRtGetSignatureInputTensorByIndex", &lib->input_tensor},
        {"LiteRtGetSignatureOutputTensorByIndex", &lib->output_tensor},
        {"LiteRtGetRankedTensorType", &lib->tensor_type},
        {"LiteRtCreateTensorBufferFromHostMemory", &lib->create_buffer},
        {"LiteRtDestroyTensorBuffer", &lib->destroy_buffer},
        {"LiteRtRunCompiledModel", &lib->run},
    };
    return ec_engine_symbols("LiteRT", lib->handle, symbols, sizeof symbols / sizeof *symbols,
                             error);
}
