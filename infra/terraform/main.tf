# The template that `trailsink deploy` deploys, as it is; README.md says why it is not written anew in HCL.

variable "bundle" {
  description = "Path of the function's bundle, the zip that make package builds: arm64 and Python 3.13, unless architecture and runtime say otherwise."
  type        = string
}

variable "scheduled_bundle" {
  description = "Path of the bundle of the scheduled functions, which trailsink package --scheduled builds. verify_schedule and detect_schedule need it."
  type        = string
  default     = null
}

variable "stack_name" {
  description = "Name of the stack, and what the names of its queue, dashboard and log groups begin with. Another name is another stack: queues are made anew, with nothing in them."
  type        = string
  default     = "trailsink"

  validation {
    # the queue of dead letters has 13 characters more, and SQS allows 80
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,66}$", var.stack_name))
    error_message = "stack_name must be letters, digits and hyphens, a letter first, 67 at most."
  }
}

variable "code_bucket" {
  description = "Name of a bucket in this region for bundle and template, known before anything is made. Null: the module makes one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation puts on what is in it, and of the bucket that the module makes."
  type        = map(string)
  default     = {}
}

locals {
  template = "${path.module}/../template.yaml"

  # Of both: CloudFormation says which CodeKey a stack has, but not which template. So an update that failed and was
  # rolled back is seen, and done again, even if the template alone has changed.
  release = sha256("${filesha256(var.bundle)} ${filesha256(local.template)}")

  makes_bucket = var.code_bucket == null

  code_bucket = local.makes_bucket ? aws_s3_bucket.code[0].id : var.code_bucket
  code_domain = local.makes_bucket ? aws_s3_bucket.code[0].bucket_regional_domain_name : data.aws_s3_bucket.code[0].bucket_regional_domain_name
}

resource "aws_s3_bucket" "code" {
  count = local.makes_bucket ? 1 : 0

  bucket_prefix = "trailsink-code-"
  force_destroy = true # only what this module puts there
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "code" {
  count = local.makes_bucket ? 1 : 0

  bucket                  = local.code_bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "code" {
  count = local.makes_bucket ? 1 : 0

  bucket = local.code_bucket
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.code[0].arn, "${aws_s3_bucket.code[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.code]
}

data "aws_s3_bucket" "code" {
  count = local.makes_bucket ? 0 : 1

  bucket = var.code_bucket
}

# The stack's name is in the key, so that two stacks can share a bucket. The old object goes last: an update that fails
# rolls the function back to it.
resource "aws_s3_object" "bundle" {
  bucket = local.code_bucket
  key    = "trailsink/${var.stack_name}/${local.release}.zip"
  source = var.bundle

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_s3_object" "scheduled_bundle" {
  count = var.scheduled_bundle == null ? 0 : 1

  bucket = local.code_bucket
  key    = "trailsink/${var.stack_name}/${filesha256(var.scheduled_bundle)}.zip"
  source = var.scheduled_bundle

  lifecycle {
    create_before_destroy = true
  }
}

# From a bucket, because a request holds 51,200 bytes of a template, and this one is larger:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
resource "aws_s3_object" "template" {
  bucket = local.code_bucket
  key    = "trailsink/${var.stack_name}/${local.release}.yaml"
  source = local.template

  lifecycle {
    create_before_destroy = true
  }
}

# on_failure, disable_rollback and timeout_in_minutes are left out on purpose: to change one of them is to replace the
# stack, and one that is imported has none of them.
resource "aws_cloudformation_stack" "trailsink" {
  name         = var.stack_name
  template_url = "https://${trimprefix(local.code_domain, "${local.code_bucket}.")}/${local.code_bucket}/${aws_s3_object.template.key}"
  parameters = merge(local.parameters, {
    CodeBucket       = local.code_bucket
    CodeKey          = aws_s3_object.bundle.key
    ScheduledCodeKey = var.scheduled_bundle == null ? "" : aws_s3_object.scheduled_bundle[0].key
  })
  capabilities = ["CAPABILITY_NAMED_IAM"] # roles, and with role_names = "fixed" they are named
  tags         = var.tags

  # a new OpenSearch domain takes up to half an hour, and so does one that changes its size
  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }
}

# A plan and an apply warn of a bundle that was replaced in the bucket before Lambda read it. `trailsink doctor --stack`
# checks the other functions as well.
check "loader_runs_the_bundle" {
  data "aws_lambda_function" "loader" {
    function_name = aws_cloudformation_stack.trailsink.outputs["LoaderFunctionName"]
  }

  assert {
    condition     = data.aws_lambda_function.loader.source_code_hash == filebase64sha256(var.bundle)
    error_message = "The loader runs other code than the bundle. If nothing is about to change, somebody has replaced it in the bucket."
  }
}
