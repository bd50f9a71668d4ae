/* encode.c: an image through the bundle's encoder, in crops where its model takes crops. */
#include "captioner.h"
#include "image_fit.h"

double ec_now(const edgecap_captioner *c)
{
    return c->clock != NULL ? c->clock() : 0;
}

/* Fills the session's input, once for each crop; crops are encoded one at a time, which takes the
 * least memory. */
static edgecap_status feed(edgecap_captioner *c, const ec_fitted *fitted, edgecap_error *error)
{
    const ec_image_spec *spec = &c->manifest.image;
    bool crops = c->manifest.crops > 0;
    size_t count = ec_fitted_count(fitted), i;
    edgecap_status status = EDGECAP_OK;
    for (i = 0; i < count && status == EDGECAP_OK; i++) {
        status = ec_cut_input(&c->memory, fitted, spec, i, ec_session_image(c->session), error);
        if (status == EDGECAP_OK && crops) {
            status = ec_session_encode_crop(c->session, i, error);
        }
    }
    if (status == EDGECAP_OK && crops) {
        ec_session_set_grid(c->session, count, fitted->rows, fitted->columns);
    }
    return status;
}

edgecap_status ec_encode_image(edgecap_captioner *c, const edgecap_image *image,
                               ec_placement *placement, double *seconds, edgecap_error *error)
{
    ec_fitted fitted;
    edgecap_status status = ec_fit_image(&c->memory, image, &c->manifest.image, &fitted, error);
    double begin = ec_now(c);
    if (status != EDGECAP_OK) {
        return status;
    }
    *placement = fitted.placement;
    status = feed(c, &fitted, error);
    ec_fitted_close(&c->memory, &fitted);
    if (status == EDGECAP_OK) {
        status = ec_session_encode(c->session, error);
    }
    *seconds = ec_now(c) - begin;
    return status;
}
